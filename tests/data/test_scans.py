"""Scans found in folders of all sorts, and where their slices lie."""

import shutil
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from chaos_seg.data.scans import Axial, Scan
from chaos_seg.data.scans import find_scans as found_in
from chaos_seg.errors import UserError


def find_scans(place: Path, series: str | None = None) -> list[Scan]:
    return [found.open() for found in found_in(place, series)]


Write = Callable[..., list[Path]]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])  # as in CHAOS: from the head down, to the back, to the left


def volume(slices: int = 4, rows: int = 6, columns: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (slices, rows, columns))


def test_series_are_found_nested_and_mixed_with_other_files(write_series: Write, tmp_path: Path) -> None:
    hu = volume()
    write_series(tmp_path / "in" / "a" / "deep", hu, np.array([1.0, 2.0, 30.0]), STEPS)
    write_series(tmp_path / "in" / "b", hu[:3], np.zeros(3), STEPS, PatientID="q")
    write_series(tmp_path / "in" / "mr", hu, np.zeros(3), STEPS, Modality="MR", PatientID="r")
    (tmp_path / "in" / "a" / "notes.txt").write_text("no DICOM")
    Image.new("L", (4, 4)).save(tmp_path / "in" / "b" / "picture.png")
    scans = find_scans(tmp_path / "in")
    assert [(scan.name, scan.shape) for scan in scans] == [("a_deep", (4, 6, 5)), ("b", (3, 6, 5))]
    scan = scans[0]
    assert all((scan.hu(rank) == hu[rank]).all() for rank in range(4))  # in spite of the names of the files
    assert scan.spacing_mm == pytest.approx((3.0, 0.8, 0.6)) and scan.warnings == ()
    assert scan.origin_mm[:, 2].tolist() == [30, 27, 24, 21] and scan.is_dicom
    assert scan.volume_ml(np.array([0, 10, 20, 0])) == pytest.approx(30 * 3 * 0.8 * 0.6 / 1000)


def test_several_series_of_a_patient_need_a_choice(write_series: Write, tmp_path: Path) -> None:
    for number in (1, 2):
        paths = write_series(tmp_path / str(number), volume(), np.zeros(3), STEPS, SeriesNumber=number)
        for path in paths:
            (tmp_path / "in").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "in" / f"{number}_{path.name}")
    with pytest.raises(UserError, match=r"found in, in_series2; choose with series=NAME"):
        find_scans(tmp_path / "in")
    assert [scan.name for scan in find_scans(tmp_path / "in", "all")] == ["in", "in_series2"]
    assert [scan.name for scan in find_scans(tmp_path / "in", "in_series2")] == ["in_series2"]
    with pytest.raises(UserError, match="series=x: expected one of in, in_series2"):
        find_scans(tmp_path / "in", "x")


def test_localisers_are_left_out_and_gaps_named(write_series: Write, tmp_path: Path) -> None:
    kinds = lambda rank: ["ORIGINAL", "PRIMARY", "LOCALIZER" if rank == 0 else "AXIAL"]  # noqa: E731
    (scan, *_) = (write_series(tmp_path, volume(9), np.zeros(3), STEPS, ImageType=kinds), None)
    scan[4].unlink()
    (found,) = find_scans(tmp_path)
    assert found.shape[0] == 7
    assert found.warnings == (
        "1 localiser slices left out",
        "uneven: slices are 3.00 mm apart, but not from -15.0 to -9.0 mm; masks are placed where they are",
    )
    thickness = np.array([3, 3, 4.5, 4.5, 3, 3, 3])
    assert found.volume_ml(np.full(7, 10)) == pytest.approx((10 * thickness).sum() * 0.8 * 0.6 / 1000)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Modality": "MR"}, r"found none \(MR series are not\)"),
        ({"ImagePositionPatient": None}, "without them no mask can be placed"),
        ({"PixelSpacing": [0.0, 1.0]}, "without them no mask can be placed"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "without them no mask can be placed"),
        ({"NumberOfFrames": 2}, "found several frames or colours"),
        ({"SamplesPerPixel": 3}, "found several frames or colours"),
        ({"ImagePositionPatient": lambda rank: [0, 0, 3.0 * max(rank, 1)]}, "found .* there too; remove one"),
        ({"PixelSpacing": lambda rank: [0.8, 0.6 + (rank == 2)]}, "expected the PixelSpacing of"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, r"found none \(localiser series are not\)"),
    ],
)
def test_what_is_no_volume_is_one_sentence(write_series: Write, tmp_path: Path, tags: dict, said: str) -> None:
    write_series(tmp_path, volume(), np.zeros(3), STEPS, **tags)
    with pytest.raises(UserError, match=said):
        find_scans(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none; name the folder of a scan"):
        find_scans(tmp_path / "x")
    (tmp_path / "a").write_bytes(b"no DICOM")
    with pytest.raises(UserError, match="expected a CT series or a NIfTI file, found none; name another"):
        find_scans(tmp_path)


def test_a_chaos_tree_gives_its_patients_in_file_name_order(phantom_root: Path) -> None:
    scans = find_scans(phantom_root)
    assert [scan.name for scan in scans] == ["1", "2", "3", "4"]
    names = [path.name for path in scans[0].files]
    assert names == sorted(names) and len(names) == 7


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize("tilt", [0, 12])
def test_the_network_sees_every_orientation_as_it_was_trained(
    write_series: Write, tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...], tilt: int
) -> None:
    """HU rise with the patient's left and back; so must they along the columns and rows of what the network gets."""
    size = np.array([2.0, 0.8, 0.6])
    axes = np.eye(3)[list(order)] * np.array(signs)[:, None]  # directions of slices, rows, columns
    if np.linalg.det(axes) > 0:  # any DICOM slice order can be written, the order of files decides
        axes[0] = -axes[0]
    steps = axes @ Rotation.from_euler("xyz", [tilt, tilt, tilt], degrees=True).as_matrix() * size[:, None]
    shape = (4, 6, 5)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    x, y, _ = np.moveaxis(index @ steps, -1, 0)
    write_series(tmp_path, np.rint(10 * x + 20 * y), np.zeros(3), steps)
    (scan,) = find_scans(tmp_path)
    axial = Axial.of(scan)
    seen = np.stack(list(axial.slices(scan))).astype(float)
    assert (np.diff(seen, axis=1) > 0).all() or tilt  # to the back
    assert np.diff(seen, axis=1).mean() > 0 and np.diff(seen, axis=2).mean() > 0
    if not tilt:
        assert (np.diff(seen, axis=2) > 0).all() and np.diff(seen, axis=0).max() == 0
    assert (axial.back(seen) == np.stack([scan.hu(rank) for rank in range(scan.shape[0])])).all()
    assert axial.streams == (order[0] == 2)


def test_nifti_of_one_name_in_several_folders_are_several_scans(tmp_path: Path) -> None:
    nib = pytest.importorskip("nibabel")
    for folder in ("case1", "case2"):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(volume().astype(np.int16), np.eye(4)), tmp_path / folder / "imaging.nii.gz")
    scans = find_scans(tmp_path)
    assert [scan.name for scan in scans] == ["case1_imaging", "case2_imaging"]
    whole = (tmp_path / "case1" / "imaging.nii.gz").read_bytes()
    (tmp_path / "case1" / "imaging.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"imaging.nii.gz: slice \d of 5 can't be read|found none that can be read"):
        (scan, _) = find_scans(tmp_path)
        [scan.hu(rank) for rank in range(scan.shape[0])]
    for wrong in (np.zeros((4, 4, 4, 2), np.int16), np.zeros((4, 4, 4), np.complex64)):
        nib.save(nib.Nifti1Image(wrong, np.eye(4)), tmp_path / "wrong.nii")
        with pytest.raises(UserError, match="expected a volume of numbers with three axes"):
            find_scans(tmp_path / "wrong.nii")


def test_copies_of_a_slice_count_once_and_damaged_files_are_named(write_series: Write, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in" / "a", volume(), np.zeros(3), STEPS)
    (tmp_path / "in" / "copy").mkdir()
    shutil.copy(paths[1], tmp_path / "in" / "copy" / "again.dcm")
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    (scan,) = find_scans(tmp_path / "in")
    assert scan.shape[0] == 3 and scan.warnings == (f"1 files beside its slices can't be read, {paths[3].name} first",)


def test_a_chaos_patient_with_a_damaged_slice_is_refused(tree: Path) -> None:
    broken = sorted((tree / "Train_Sets" / "CT" / "2" / "DICOM_anon").iterdir())[0]
    broken.write_bytes(b"garbage")
    with pytest.raises(UserError, match=f"{broken.name}: expected a DICOM file"):
        find_scans(tree, "2")
    assert find_scans(tree, "1")[0].shape[0] == 7


def test_what_a_scan_is_made_of_tells_it_from_another(write_series: Write, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_series(tmp_path / name / "CT", volume(), np.zeros(3), STEPS)
    shutil.copytree(tmp_path / "one", tmp_path / "moved")
    one, two, moved = (found_in(tmp_path / name)[0] for name in ("one", "two", "moved"))
    assert one.name == two.name == "CT" and one.identity == moved.identity != two.identity


def test_a_single_slice_says_what_its_volume_rests_on(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path, volume(1), np.zeros(3), STEPS, SliceThickness=3.0)
    (scan,) = find_scans(tmp_path)
    assert scan.warnings == ("a single slice: its volume is that of 3 mm",) and scan.step_mm == 3
