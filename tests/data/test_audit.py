"""Each finding on a phantom with that one fault, and nothing on sound data."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from chaos_seg.data.alignment import MIRRORED, align
from chaos_seg.data.audit import Finding, audit, facts, refuse_errors
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.sources.phantom import Phantom, render, write_phantom
from chaos_seg.data.store import StoredScan, decode
from chaos_seg.errors import UserError

Files = list[Path]
N = 24


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients of 24 slices, large enough for every rule; not to be changed."""
    return write_phantom(tmp_path_factory.mktemp("audit"), Phantom(patients=2, slices=N, size=128, seed=1))


@pytest.fixture
def tree(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "tree"))


def findings_of(tree: Path, store: Path, sides: dict[str, str] | None = None) -> list[Finding]:
    volumes, faults = decode(store, find_patients(tree).values())
    return audit(volumes, sides or {}, faults)[1]


def files(tree: Path, patient: str = "1") -> tuple[Files, Files]:
    place = tree / "Train_Sets" / "CT" / patient
    return sorted((place / "DICOM_anon").iterdir()), sorted((place / "Ground").iterdir())


def edit(paths: Files, **tags: object) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        for name, value in tags.items():
            setattr(dataset, name, value)
        dataset.save_as(path)


def mirror_slices(paths: Files, axis: int) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = np.flip(dataset.pixel_array, axis).tobytes()
        dataset.save_as(path)


def read(paths: Files) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)).copy() for path in paths]


def write(paths: Files, masks: list[np.ndarray]) -> None:
    for path, mask in zip(paths, masks, strict=True):
        Image.fromarray(mask).save(path)


def test_a_sound_phantom_has_no_error_and_no_warning(sound: Path, tmp_path: Path) -> None:
    findings = findings_of(sound, tmp_path)
    assert [f for f in findings if f.level != "note"] == []
    assert {(f.code, f.patient) for f in findings} == {
        ("thickness_is_not_spacing", "1"),
        ("thickness_is_not_spacing", "2"),
        ("hu_outliers", "1"),
    }
    note = next(f for f in findings if f.code == "thickness_is_not_spacing")
    assert "slices lie 10.00 mm apart and are 16.00 mm thick" in note.text


def masks_reversed(dicoms: Files, masks: Files) -> None:
    write(masks, read(masks)[::-1])


def masks_reversed_into_the_lung(dicoms: Files, masks: Files) -> None:
    """A scan that ends with the liver, so that the reversed masks are dark under all but a few."""
    for path in dicoms[15:] + masks[15:]:
        path.unlink()
    write(masks[:15], read(masks[:15])[::-1])


def masks_shifted(dicoms: Files, masks: Files) -> None:
    values = read(masks)
    write(masks, [np.zeros_like(values[0])] * 2 + values[:-2])


def mask_dropped(dicoms: Files, masks: Files) -> None:
    values = read(masks)
    write(masks, values[:9] + values[10:] + [np.zeros_like(values[0])])


def mask_doubled(dicoms: Files, masks: Files) -> None:
    values = read(masks)
    write(masks, values[:10] + values[9:-1])


def mask_lost(dicoms: Files, masks: Files) -> None:
    masks[7].unlink()


def mask_blank(dicoms: Files, masks: Files) -> None:
    write([masks[12]], [np.zeros((128, 128), bool)])


def last_mask_blank(dicoms: Files, masks: Files) -> None:
    write(masks[14:], [np.zeros((128, 128), bool)] * (N - 14))


def masks_all_blank(dicoms: Files, masks: Files) -> None:
    write(masks, [np.zeros((128, 128), bool)] * N)


def masks_mirrored(dicoms: Files, masks: Files) -> None:
    write(masks, [value[::-1] for value in read(masks)])


def masks_mirrored_left_right(dicoms: Files, masks: Files) -> None:
    write(masks, [value[:, ::-1] for value in read(masks)])


def masks_transposed(dicoms: Files, masks: Files) -> None:
    write(masks, [np.ascontiguousarray(value.T) for value in read(masks)])


def mask_smoothed(dicoms: Files, masks: Files) -> None:
    write([masks[12]], [read([masks[12]])[0].astype(np.uint8) * np.arange(128, dtype=np.uint8) * 2])


def slice_missing(dicoms: Files, masks: Files) -> None:
    dicoms[11].unlink()
    masks[11].unlink()
    for index, path in enumerate(masks[:11] + masks[12:]):
        path.rename(path.with_name(f"liver_GT_{index:03d}.png"))


def slice_doubled(dicoms: Files, masks: Files) -> None:
    shutil.copy(dicoms[10], dicoms[11])


def pixels_doubled(dicoms: Files, masks: Files) -> None:
    edit([dicoms[11]], PixelData=pydicom.dcmread(dicoms[10]).PixelData)


def slices_swapped(dicoms: Files, masks: Files) -> None:
    a, b = dicoms[10].read_bytes(), dicoms[11].read_bytes()
    dicoms[10].write_bytes(b)
    dicoms[11].write_bytes(a)


def pixels_swapped(dicoms: Files, masks: Files) -> None:
    """Two slices exchanged with masks and all, but for their positions."""
    a, b = (pydicom.dcmread(dicoms[k]).PixelData for k in (10, 14))
    edit([dicoms[10]], PixelData=b)
    edit([dicoms[14]], PixelData=a)
    write([masks[10], masks[14]], read([masks[14], masks[10]]))


def series_mixed(dicoms: Files, masks: Files) -> None:
    edit(dicoms[:5], SeriesInstanceUID=generate_uid(entropy_srcs=["another"]))


def studies_mixed(dicoms: Files, masks: Files) -> None:
    edit(dicoms[::2], StudyInstanceUID=generate_uid(entropy_srcs=["another"]))


def frames_mixed(dicoms: Files, masks: Files) -> None:
    edit(dicoms[:5], FrameOfReferenceUID=generate_uid(entropy_srcs=["one"]))
    edit(dicoms[5:], FrameOfReferenceUID=generate_uid(entropy_srcs=["another"]))


def patients_mixed(dicoms: Files, masks: Files) -> None:
    """With the UIDs of their own that another patient's slices bring along."""
    uids = {f"{level}InstanceUID": generate_uid(entropy_srcs=[level]) for level in ("Study", "Series")}
    edit(dicoms[12:], PatientID="another", **uids)


def uid_repeated(dicoms: Files, masks: Files) -> None:
    edit([dicoms[7], dicoms[15]], SOPInstanceUID=pydicom.dcmread(dicoms[2]).SOPInstanceUID)


def uids_empty(dicoms: Files, masks: Files) -> None:
    for path in dicoms:
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = ""
        dataset.save_as(path)


def sizes_mixed(dicoms: Files, masks: Files) -> None:
    edit([dicoms[3]], Rows=64, PixelData=bytes(64 * 128 * 2))


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


def padding_bright(dicoms: Files, masks: Files) -> None:
    """-2000 in unsigned pixels, beyond the circle that the scanner measures."""
    y, x = np.mgrid[-63.5:64, -63.5:64]
    for path in dicoms:
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array.copy()
        stored[y**2 + x**2 > 64**2] = 63536
        dataset.PixelData = stored.tobytes()
        dataset.save_as(path)


def rescale_varies(dicoms: Files, masks: Files) -> None:
    edit(dicoms[:2], RescaleIntercept=-1010)


def slice_blank(dicoms: Files, masks: Files) -> None:
    edit([dicoms[0]], PixelData=bytes(128 * 128 * 2))


def orientation_mirrored(dicoms: Files, masks: Files) -> None:
    edit(dicoms, ImageOrientationPatient=[1, 0, 0, 0, -1, 0])


def body_mirrored(dicoms: Files, masks: Files) -> None:
    mirror_slices(dicoms, 1)
    write(masks, [value[:, ::-1] for value in read(masks)])


def body_upside_down(dicoms: Files, masks: Files) -> None:
    mirror_slices(dicoms, 0)
    write(masks, [value[::-1] for value in read(masks)])


def mr_by_name(dicoms: Files, masks: Files) -> None:
    edit(dicoms, Modality="MR")


def mr_by_values(dicoms: Files, masks: Files) -> None:
    edit(dicoms, RescaleIntercept=0)


def liver_tiny(dicoms: Files, masks: Files) -> None:
    edit(dicoms, PixelSpacing=[1.0, 1.0])


def liver_huge(dicoms: Files, masks: Files) -> None:
    edit(dicoms, PixelSpacing=[6.0, 6.0])


def rescale_wrong(dicoms: Files, masks: Files) -> None:
    edit(dicoms, RescaleIntercept=-1400)


def volume_cut(dicoms: Files, masks: Files) -> None:
    for path in dicoms[12:] + masks[12:]:
        path.unlink()


def named(dicoms: Files, masks: Files) -> None:
    edit([dicoms[4]], PatientName="Muster^Erika")


def dated(dicoms: Files, masks: Files) -> None:
    edit(dicoms, StudyDate="20051020")


def dated_uid(dicoms: Files, masks: Files) -> None:
    edit(dicoms, StudyInstanceUID="1.2.124.113532.192.70.134.138.20051020.155132.4446164")


def private(dicoms: Files, masks: Files) -> None:
    dataset = pydicom.dcmread(dicoms[0])
    dataset.private_block(0x0009, "ACME", create=True).add_new(0x01, "LO", "ward 3")
    dataset.save_as(dicoms[0])


def burned_in(dicoms: Files, masks: Files) -> None:
    edit(dicoms, BurnedInAnnotation="YES")


def unreadable(dicoms: Files, masks: Files) -> None:
    dicoms[0].write_bytes(dicoms[0].read_bytes()[:2000])


@pytest.mark.parametrize(
    ("fault", "expected", "said"),
    [
        (masks_reversed, {"masks_reversed"}, "fit the slices in reverse order"),
        (masks_reversed_into_the_lung, {"masks_reversed", "liver_cut_off"}, "fit the slices in reverse order"),
        (masks_shifted, {"masks_shifted"}, "fit 2 slices earlier"),
        (mask_dropped, {"masks_shifted"}, "masks 10 to"),
        (mask_doubled, {"masks_shifted", "mask_doubled"}, "fit 1 slice earlier"),
        (mask_lost, {"masks_unpaired"}, "without number 7"),
        (mask_blank, {"mask_missing"}, "slice 13 of 24 has an empty mask between"),
        (last_mask_blank, {"mask_missing"}, "slice 15 of 24 has an empty mask, but"),
        (masks_all_blank, {"no_liver"}, "all 24 masks are empty"),
        (masks_mirrored, {"mask_mirrored"}, "rows mirrored"),
        (masks_mirrored_left_right, {"mask_mirrored"}, "columns mirrored"),
        (masks_transposed, {"mask_mirrored"}, "fit when they are transposed ("),
        (mask_smoothed, {"mask_not_binary"}, "expected a mask of 0 and one other value"),
        (
            slice_missing,
            {"slice_missing"},
            "expected steps of -10.00 mm along z, found -20.00 mm from slice 11 to 12 of 23",
        ),
        (slice_doubled, {"slice_doubled", "slice_missing"}, "slices 11 to 12 of 24 have the same pixels"),
        (pixels_doubled, {"slice_doubled"}, "slices 11 to 12 of 24 have the same pixels"),
        (slices_swapped, {"slice_out_of_order"}, "found 10.00 mm from slice 11 to 12"),
        (pixels_swapped, {"slice_swapped"}, "in another order"),
        (series_mixed, {"mixed_series"}, "found 2 with 19 and 5 slices, the fewer at slices 1 to 5 of 24"),
        (studies_mixed, {"mixed_studies"}, "expected one StudyInstanceUID, found 2 with 12 and 12 slices"),
        (frames_mixed, {"mixed_frames"}, "found 2 with 19 and 5 slices, the fewer at slices 1 to 5 of 24"),
        (patients_mixed, {"mixed_patients", "identity"}, "two patients lie in one folder"),
        (uid_repeated, {"uids_not_unique"}, "found 1 on 3 slices: slices 3, 8, 16 of 24"),
        (uids_empty, {"uids_not_unique"}, "found 1 on 24 slices (empty or missing): slices 1 to 24 of 24"),
        (sizes_mixed, {"mixed_sizes"}, "expected 128 x 128 pixels"),
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
        (padding_bright, {"bright_padding"}, "88 % of the pictures' outermost pixels"),
        (rescale_varies, {"rescale_varies"}, "the rarer at slices 1 to 2 of 24"),
        (slice_blank, {"blank_slice"}, "slice 1 of 24: all pixels are the same"),
        (orientation_mirrored, {"orientation_mirrored"}, "(1, 0, 0, 0, -1, 0)"),
        (body_mirrored, {"liver_on_the_left"}, "to the other side"),
        (body_upside_down, {"upside_down"}, "rows are mirrored"),
        (mr_by_name, {"not_ct"}, "found MR"),
        (mr_by_values, {"not_hounsfield", "implausible_liver_hu"}, "MR taken for CT"),
        (liver_tiny, {"implausible_liver_volume"}, "expected a liver of 300 to 4500 ml"),
        (liver_huge, {"implausible_liver_volume"}, "expected a liver of 300 to 4500 ml"),
        (rescale_wrong, {"implausible_liver_hu"}, "a wrong rescale"),
        (volume_cut, {"liver_cut_off"}, "pixels on the last slice"),
        (named, {"identity"}, "person: PatientName;"),
        (dated, {"identity"}, "person: StudyDate;"),
        (dated_uid, {"identity"}, "person: date in StudyInstanceUID;"),
        (private, {"identity"}, "person: private attributes (group 0009);"),
        (burned_in, {"identity"}, "person: burned-in text;"),
        (unreadable, {"unreadable_file"}, "i0000,0000b.dcm"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_every_fault_is_named(
    tree: Path, tmp_path: Path, fault: Callable[[Files, Files], None], expected: set[str], said: str
) -> None:
    if fault is unreadable:
        said = files(tree)[0][0].name
    fault(*files(tree))
    found = [finding for finding in findings_of(tree, tmp_path / "store") if finding.level != "note"]
    assert {finding.code for finding in found} == expected
    assert {finding.patient for finding in found} == {"1"}
    assert any(said in finding.text for finding in found), found


def test_one_person_in_two_folders(tree: Path, tmp_path: Path) -> None:
    ct = tree / "Train_Sets" / "CT"
    shutil.copytree(ct / "1", ct / "3")
    edit(files(tree, "2")[0], StudyInstanceUID=pydicom.dcmread(files(tree)[0][0]).StudyInstanceUID)
    together = findings_of(tree, tmp_path, {"1": "train", "2": "train", "3": "train"})
    assert {(f.level, f.code, f.patient) for f in together if f.level != "note"} == {
        ("error", "same_pixels", "1, 3"),
        ("warning", "same_person", "1, 2"),
        ("warning", "same_person", "2, 3"),
    }
    apart = findings_of(tree, tmp_path, {"1": "train", "2": "val", "3": "test"})
    assert {(f.level, f.code, f.patient) for f in apart if f.level != "note"} == {
        ("error", "leak", "1, 3"),
        ("error", "leak", "1, 2"),
        ("error", "leak", "2, 3"),
    }
    assert any(
        "24 slices of patient 1 have the pixels of patient 3, one in train, the other in test" in f.text for f in apart
    )


def test_rounded_locations_and_a_common_pseudonym_accuse_nobody(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "Train_Sets" / "CT" / "2", tree / "Train_Sets" / "CT" / "3")
    for patient in "123":
        dicoms, _ = files(tree, patient)
        for k, path in enumerate(dicoms):
            position = [-185, -185, round(-9.6 * k, 1)]
            edit([path], SliceLocation=round(9.6 * k), ImagePositionPatient=position, PatientID="ANON")
            edit([path], SpacingBetweenSlices=-9.6)
    edit(files(tree, "3")[0], StudyInstanceUID=generate_uid())
    for path in files(tree, "3")[0]:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = np.clip(dataset.pixel_array + 1, 0, 65535).astype(np.uint16).tobytes()
        dataset.save_as(path)
    found = findings_of(tree, tmp_path, {"1": "train", "2": "val", "3": "test"})
    assert {f.code for f in found if f.level != "note"} == {"identity"}
    edit(files(tree, "3")[0], PatientID="ANOTHER")
    edit(files(tree, "1")[0], PatientName="SMITH^JOHN^^^2")
    found = findings_of(tree, tmp_path, {"1": "train", "2": "val", "3": "test"})
    (leak,) = (f for f in found if f.level == "error")
    assert (leak.code, leak.patient) == ("leak", "1, 2") and "the same PatientID, one in train" in leak.text
    assert any("PatientID, PatientName;" in f.text for f in found if f.patient == "1")


def test_errors_stop_training_unless_told_otherwise(tree: Path, tmp_path: Path) -> None:
    masks_reversed(*files(tree))
    volumes, _ = decode(tmp_path, find_patients(tree).values())
    with pytest.raises(UserError, match=r"(?s)found 1 error in the data.*data.audit=off.*masks_reversed, patient 1"):
        refuse_errors(volumes, {})
    assert refuse_errors(volumes[1:], {}) == {"note": 1}


def test_second_audit_reads_no_pixel(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes, _ = decode(tmp_path, find_patients(sound).values())
    first = audit(volumes, {})
    for kind in ("hu", "mask"):
        monkeypatch.setattr(StoredScan, kind, lambda *a: pytest.fail("read a slice"))
    assert audit(volumes, {}) == first
    (volumes[0].folder / "audit.json").write_text("{")  # damaged: measured again
    monkeypatch.undo()
    assert audit(volumes, {}) == first


def test_facts_are_those_of_the_phantom(sound: Path, tmp_path: Path) -> None:
    volumes, _ = decode(tmp_path, find_patients(sound).values())
    measures, _ = audit(volumes, {})
    told = facts(volumes[0], measures["1"])
    under = np.concatenate([volumes[0].hu(k)[volumes[0].mask(k) > 0] for k in range(N)])
    assert (told["liver_hu_mean"], told["liver_hu_std"]) == (round(under.mean(), 1), round(under.std(), 1))
    assert told["liver_ml"] == pytest.approx(len(under) * 10 * (370 / 128) ** 2 / 1000, rel=1e-4)
    assert (told["z_along_file_names"], told["z_step_mm"], told["hu_max"]) == ("descends", pytest.approx(10), 49944)
    assert sum(measures["1"].histogram_under) == len(under)
    assert sum(measures["1"].histogram_outside) == N * 128 * 128 - len(under)


def test_test_set_without_masks_is_audited_too(tree: Path, tmp_path: Path) -> None:
    (tree / "Test_Sets" / "CT").mkdir(parents=True)
    shutil.move(tree / "Train_Sets" / "CT" / "1", tree / "Test_Sets" / "CT" / "1")
    shutil.rmtree(tree / "Test_Sets" / "CT" / "1" / "Ground")
    assert [f for f in findings_of(tree, tmp_path / "s") if f.level != "note"] == []
    slices_swapped(*[sorted((tree / "Test_Sets" / "CT" / "1" / "DICOM_anon").iterdir())] * 2)
    assert {f.code for f in findings_of(tree, tmp_path / "s") if f.level == "error"} == {"slice_out_of_order"}


@pytest.fixture(scope="module")
def drawn() -> tuple[list[np.ndarray], list[np.ndarray]]:
    pairs = list(render(np.random.default_rng(5), 40, 160))
    return [hu.clip(-2048, 3071).astype(np.int16) for hu, _ in pairs], [liver.astype(np.uint8) for _, liver in pairs]


@pytest.mark.parametrize("shift", [-5, -1, 1, 5])
def test_shift_is_measured(drawn: tuple[list[np.ndarray], list[np.ndarray]], shift: int) -> None:
    slices, masks = drawn
    blank = [np.zeros_like(masks[0])] * abs(shift)
    moved = blank + masks[:-shift] if shift > 0 else masks[-shift:] + blank
    (misfit,) = align(slices, moved).misfits
    assert (misfit.how, misfit.shift) == ("shifted", -shift)


@pytest.mark.parametrize("how", MIRRORED)
def test_mirrored_masks_are_told_how_to_fit(drawn: tuple[list[np.ndarray], list[np.ndarray]], how: str) -> None:
    slices, masks = drawn
    inverse = {"turned by 90 degrees": 1, "turned by 270 degrees": -1}  # np.rot90 turns the other way
    mirror: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "columns mirrored": np.fliplr,
        "rows mirrored": np.flipud,
        "turned by 180 degrees": lambda mask: np.rot90(mask, 2),
        "transposed": np.transpose,
        "transposed along the other diagonal": lambda mask: np.rot90(mask, 2).T,
        **{turned: (lambda mask, k=k: np.rot90(mask, k)) for turned, k in inverse.items()},
    }
    (misfit,) = align(slices, [np.ascontiguousarray(mirror[how](mask)) for mask in masks]).misfits
    assert misfit.how == how


@pytest.mark.parametrize("seed", [6, 7, 8])
def test_masks_of_another_scan_fit_nowhere(drawn: tuple[list[np.ndarray], list[np.ndarray]], seed: int) -> None:
    others = [liver.astype(np.uint8) for _, liver in render(np.random.default_rng(seed), 40, 160)]
    (misfit,) = align(drawn[0], others).misfits
    assert misfit.how == "nowhere"


def faulty_orders(n: int, liver: list[int], times: int) -> Iterator[tuple[str, list[int | None]]]:
    """Which mask is shown at each slice: shifted by 1 to 5, reversed, one dropped, one doubled."""
    draw, ranks = random.Random(0), list(range(n))
    yield "reversed", ranks[::-1]
    for _ in range(times):
        shift = draw.randint(1, 5)
        yield "shifted", [None] * shift + ranks[:-shift] if draw.random() < 0.5 else ranks[shift:] + [None] * shift  # type: ignore[operator]
        k = draw.choice(liver[:-3])
        yield "dropped", ranks[:k] + ranks[k + 1 :] + [None]
        yield "doubled", ranks[: k + 1] + ranks[k:-1]


def test_real_scans_are_sound_and_wrong_orders_found(real_root: Path, tmp_path: Path) -> None:
    volumes, faults = decode(tmp_path, find_patients(real_root).values())
    assert [f for f in audit(volumes, {}, faults)[1] if f.level == "error"] == []
    volume = next(v for v in volumes if v.name == "3")
    slices, masks = ([read(k) for k in range(78)] for read in (volume.hu, volume.mask))
    blank = np.zeros_like(masks[0])
    for kind, order in faulty_orders(78, [k for k in range(78) if masks[k].any()], 2):
        assert align(slices, [blank if k is None else masks[k] for k in order]).misfits, kind
    (end,) = align(slices, masks).beyond.items()  # above the dome lies lung; below, the scan ends within the liver
    assert end[0] == 6 and end[1] < 0.2
