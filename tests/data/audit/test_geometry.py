import shutil

import numpy as np
import pydicom

from tests.data.audit.faults import Fault, Files, Named, cases, edit, slices_swapped


def slice_missing(dicoms: Files, masks: Files) -> None:
    dicoms[11].unlink()
    masks[11].unlink()
    for index, path in enumerate(masks[:11] + masks[12:]):
        path.rename(path.with_name(f"liver_GT_{index:03d}.png"))


def slice_doubled(dicoms: Files, masks: Files) -> None:
    shutil.copy(dicoms[10], dicoms[11])


def thickness_for_spacing(dicoms: Files, masks: Files) -> None:
    edit(dicoms, SpacingBetweenSlices=16.0)


def positions_from_thickness(dicoms: Files, masks: Files) -> None:
    for k, path in enumerate(dicoms):
        edit([path], SliceLocation=10.0 * k, ImagePositionPatient=[-185, -185, -16.0 * k])


def step_varies(dicoms: Files, masks: Files) -> None:
    for k, path in enumerate(dicoms[16:], 16):
        edit([path], ImagePositionPatient=[-185, -185, -150 - 8.0 * (k - 15)])


def spacing_varies(dicoms: Files, masks: Files) -> None:
    edit(dicoms[20:], PixelSpacing=[2.0, 2.0])


def orientation_varies(dicoms: Files, masks: Files) -> None:
    edit(dicoms[15:18], ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])


def positions_lost(dicoms: Files, masks: Files) -> None:
    edit(dicoms, ImagePositionPatient=[-185, -185, 0])


def shifted_sideways(dicoms: Files, masks: Files) -> None:
    for k, path in enumerate(dicoms[12:], 12):
        edit([path], ImagePositionPatient=[-155, -185, -10.0 * k])


def tilted_by_position(dicoms: Files, masks: Files) -> None:
    for k, path in enumerate(dicoms):
        edit([path], ImagePositionPatient=[-185, round(-185 + 10 * k * np.tan(np.radians(10)), 1), -10.0 * k])


def tilted_by_orientation(dicoms: Files, masks: Files) -> None:
    """As a scanner writes it: the slices lean, the table moves straight on."""
    lean = np.radians(25)
    edit(dicoms, ImageOrientationPatient=[1, 0, 0, 0, round(np.cos(lean), 6), round(np.sin(lean), 6)])
    for k, path in enumerate(dicoms):
        edit([path], SliceLocation=10.0 * k, SpacingBetweenSlices=10.0)


def tilted_and_shifted(dicoms: Files, masks: Files) -> None:
    tilted_by_orientation(dicoms, masks)
    for path in dicoms[12:]:
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        edit([path], ImagePositionPatient=[x + 30, y, z])


def oblique(dicoms: Files, masks: Files) -> None:
    lean = np.radians(10)
    edit(dicoms, ImageOrientationPatient=[1, 0, 0, 0, round(np.cos(lean), 6), round(np.sin(lean), 6)])
    for k, path in enumerate(dicoms):
        edit([path], ImagePositionPatient=[-185, 10 * k * round(np.sin(lean), 6), -10 * k * round(np.cos(lean), 6)])


def orientation_mirrored(dicoms: Files, masks: Files) -> None:
    edit(dicoms, ImageOrientationPatient=[1, 0, 0, 0, -1, 0])


@cases(
    (
        slice_missing,
        {"slice_missing"},
        "expected steps of -10.00 mm along z, found -20.00 mm from slice 11 to 12 of 23",
    ),
    (slice_doubled, {"slice_doubled", "slice_missing"}, "slices 11 to 12 of 24 have the same pixels"),
    (slices_swapped, {"slice_out_of_order"}, "found 10.00 mm from slice 11 to 12"),
    (thickness_for_spacing, {"thickness_taken_for_spacing"}, "SpacingBetweenSlices says 16.00 mm"),
    (positions_from_thickness, {"thickness_taken_for_spacing"}, "SliceLocation says 10.00 mm"),
    (step_varies, {"spacing_varies"}, "found -8.00 mm from slice 16 to 17"),
    (spacing_varies, {"spacing_varies"}, "expected one PixelSpacing, found (2.891, 2.891) and (2, 2) mm"),
    (orientation_varies, {"orientation_varies"}, "found another at slices 16 to 18 of 24"),
    (positions_lost, {"positions_lost"}, "found all 24 within 0.00 mm"),
    (shifted_sideways, {"shifted_sideways"}, "jump 30.0 mm to the side from slice 12 to 13 of"),
    (tilted_by_position, {"gantry_tilt"}, "by 10.0 degrees"),
    (tilted_by_orientation, {"gantry_tilt"}, "by 25.0 degrees"),
    (
        tilted_and_shifted,
        {"gantry_tilt", "shifted_sideways"},
        "jump 30.0 mm to the side from slice 12 to 13 of",
    ),
    (oblique, {"oblique"}, "CHAOS has axial ones"),
    (orientation_mirrored, {"orientation_mirrored"}, "(1, 0, 0, 0, -1, 0)"),
)
def test_every_fault_is_named(named: Named, fault: Fault, codes: set[str], said: str) -> None:
    named(fault, codes, said)
