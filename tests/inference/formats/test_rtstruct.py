"""Outlines read back as masks, by a reader that knows the standard alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.errors import UserError
from chaos_seg.inference.formats import writers_for
from chaos_seg.inference.formats.rtstruct import outlines

Write = Callable[..., list[Path]]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


def opened(place: Path) -> Scan:
    (found,) = find_scans(place).scans
    return found.open()


def inside(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which pixel centres an outline (points, 2) of column and row has around it, counted by crossings."""
    column, row = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    found = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (min(y0, y1) <= row) & (row < max(y0, y1))
            found ^= crosses & (column < x0 + (row - y0) * (x1 - x0) / (y1 - y0))
    return found


def test_the_outlines_of_any_mask_hold_just_its_pixels_and_lie_half_a_pixel_off() -> None:
    """Holes in holes, single pixels, pixels that touch at a corner, masks up to the picture's edge."""
    rng = np.random.default_rng(0)
    for share in np.linspace(0.05, 0.95, 40):
        plane = rng.random((int(rng.integers(1, 24)), int(rng.integers(1, 24)))) < share
        found = np.zeros_like(plane)
        padded = np.pad(plane, 1)
        for outline in outlines(plane):
            found ^= inside(outline, plane.shape)
            low, high = np.floor(outline + 1).astype(int), np.ceil(outline + 1).astype(int)  # pixels on both sides
            assert np.allclose(np.abs(outline - np.floor(outline)).sum(axis=1), 0.5)
            assert (padded[low[:, 1], low[:, 0]] != padded[high[:, 1], high[:, 0]]).all()
        assert (found == plane).all()


def test_a_hole_is_cut_out_of_its_outline() -> None:
    """Some readers fill each contour by itself: those get the ring too."""
    plane = np.zeros((20, 20), bool)
    plane[2:18, 2:18] = True
    plane[5:8, 5:8] = plane[10:14, 11:15] = False
    (outline,) = outlines(plane)
    assert (inside(outline, plane.shape) == plane).all()


@pytest.mark.parametrize("angles", [(0, 0, 0), (9, -14, 21)])
def test_contours_in_millimetres_are_the_mask_of_the_slices_that_they_name(
    write_series: Write, tmp_path: Path, angles: tuple[int, int, int]
) -> None:
    steps, origin = STEPS @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix(), np.array([-70.0, 33.3, 12])
    paths = write_series(tmp_path / "in", np.zeros((5, 30, 24), int), origin, steps)
    scan = opened(tmp_path / "in")
    mask = np.zeros((5, 30, 24), bool)
    mask[1:4, 6:20, 4:18], mask[2, 10:13, 8:12], mask[3, 25, 20] = True, False, True
    names = {"colour": [1, 2, 3], "roi_name": "Leber", "series_description": "Konturen"}
    writers, refused = writers_for(scan, ["rtstruct"], {"rtstruct": names})
    writers["rtstruct"].write(list(mask), tmp_path)

    ds = pydicom.dcmread(tmp_path / "liver_rtstruct.dcm")
    assert refused == {} and ds.SOPClassUID.name == "RT Structure Set Storage" and ds.SeriesDescription == "Konturen"
    assert ds.StructureSetROISequence[0].ROIName == "Leber" and list(ds.ROIContourSequence[0].ROIDisplayColor) == [
        1,
        2,
        3,
    ]
    found = np.zeros_like(mask)
    slices = {h.SOPInstanceUID: h for h in (pydicom.dcmread(path, stop_before_pixels=True) for path in paths)}
    place = {uid: k for k, uid in enumerate(scan.instances)}
    for contour in ds.ROIContourSequence[0].ContourSequence:
        uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        header = slices[uid]
        points = np.array(contour.ContourData, float).reshape(-1, 3) - np.array(header.ImagePositionPatient, float)
        row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        assert len(points) == contour.NumberOfContourPoints and np.abs(points @ np.cross(row, column)).max() < 1e-3
        spacing = np.array(header.PixelSpacing, float)
        found[place[uid]] ^= inside(np.stack([points @ row / spacing[1], points @ column / spacing[0]], 1), (30, 24))
    assert (found == mask).all()
    series = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert {one.ReferencedSOPInstanceUID for one in series.ContourImageSequence} == slices.keys()
    assert series.SeriesInstanceUID == header.SeriesInstanceUID and ds.StudyInstanceUID == header.StudyInstanceUID


def test_an_empty_mask_is_a_region_without_contours(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path / "in", np.zeros((3, 6, 5), int), np.zeros(3), STEPS)
    writers_for(opened(tmp_path / "in"), ["rtstruct"])[0]["rtstruct"].write([np.zeros((6, 5), bool)] * 3, tmp_path)
    ds = pydicom.dcmread(tmp_path / "liver_rtstruct.dcm")
    assert "ContourSequence" not in ds.ROIContourSequence[0] and len(ds.RTROIObservationsSequence) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"colour": [0, 0, 256]}, r"format\.rtstruct\.colour=\[0, 0, 256\]: expected red, green and blue"),
        ({"colour": "red"}, r"format\.colour=red: expected .*Sequence\[int\], found str"),
        ({"roi_name": ""}, r"format\.rtstruct\.roi_name='': expected 1 to 64 printable characters"),
    ],
)
def test_what_dicom_can_not_hold_is_refused(
    write_series: Write, tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    write_series(tmp_path / "in", np.zeros((3, 6, 5), int), np.zeros(3), STEPS)
    writers, refused = writers_for(opened(tmp_path / "in"), ["rtstruct"], {"rtstruct": options})
    assert writers == {}
    with pytest.raises(UserError, match=sentence):
        raise UserError(refused["rtstruct"])
