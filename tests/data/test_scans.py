"""Scans found in folders of all sorts, and where their slices lie."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import choose
from chaos_seg.data.scans import find_scans as search
from chaos_seg.data.sources.chaos import find_patients, pair_slices
from chaos_seg.errors import UserError


def find_scans(place: Path, series: str | list[str] | None = None) -> list[Scan]:
    return [found.open() for found in choose(search(place).scans, [series] if isinstance(series, str) else series)]


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
    tags = {"SeriesDescription": "Abdomen ven", "SliceThickness": 3}
    for number in (1, 2):
        paths = write_series(tmp_path / str(number), volume(), np.zeros(3), STEPS, SeriesNumber=number, **tags)
        for path in paths:
            (tmp_path / "in").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "in" / f"{number}_{path.name}")
    with pytest.raises(UserError, match="Expected one CT series a patient") as refused:
        find_scans(tmp_path / "in")
    assert str(refused.value).splitlines()[1:] == [
        "  1. series=in_series1: series 1, 'Abdomen ven', 4 slices, 3 mm thick",
        "  2. series=in_series2: series 2, 'Abdomen ven', 4 slices, 3 mm thick",
    ]
    assert [scan.name for scan in find_scans(tmp_path / "in", "all")] == ["in_series1", "in_series2"]
    assert [scan.name for scan in find_scans(tmp_path / "in", "in_series2")] == ["in_series2"]
    assert [scan.name for scan in find_scans(tmp_path / "in", ["in_series2", "in_series1"])] == [
        "in_series1",
        "in_series2",
    ]
    with pytest.raises(UserError, match=r"series=x: expected all, or names of what was found:\n  1. series=in_series1"):
        find_scans(tmp_path / "in", ["in_series1", "x"])


def test_localisers_are_left_out_and_gaps_named(write_series: Write, tmp_path: Path) -> None:
    kinds = lambda rank: ["ORIGINAL", "PRIMARY", "LOCALIZER" if rank == 0 else "AXIAL"]  # noqa: E731
    (scan, *_) = (write_series(tmp_path, volume(9), np.zeros(3), STEPS, ImageType=kinds), None)
    scan[4].unlink()
    (found,) = find_scans(tmp_path)
    assert found.shape[0] == 7
    assert found.warnings == (
        "uneven: slices are 3.00 mm apart, but not from -15.0 to -9.0 mm; masks are placed where they are",
    )
    assert search(tmp_path).reasons() == [f"1 left out, a scout (LOCALIZER) of series 1 '': {scan[0].name}"]
    pixels = np.array([9, 1, 50, 2, 0, 7, 4])  # a missing slice is in no volume
    assert found.volume_ml(pixels) == pytest.approx(pixels.sum() * 3 * 0.8 * 0.6 / 1000)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"Modality": "MR"}, r"found none(.|\n)*4 left out, no CT but MR of series 1"),
        ({"ImagePositionPatient": None}, "that can be used to place a mask"),
        ({"PixelSpacing": [0.0, 1.0]}, "that can be used to place a mask"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "that can be used to place a mask"),
        ({"NumberOfFrames": 2}, "several frames or colours in one file"),
        ({"SamplesPerPixel": 3}, "several frames or colours in one file"),
        (
            {"ImagePositionPatient": lambda rank: [0, 0, 3.0 * max(rank, 1)]},
            "found .* 0.00 mm apart at .* mm, and nothing that tells",
        ),
        ({"ImageType": "LOCALIZER"}, r"found none(.|\n)*4 left out, a scout \(LOCALIZER\)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, r"found none(.|\n)*4 left out, a scout \(LOCALIZER\)"),
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
    with pytest.raises(
        UserError, match=r"expected a CT series or a NIfTI file, found none(.|\n)*neither DICOM nor NIfTI"
    ):
        find_scans(tmp_path)


def test_a_chaos_tree_gives_its_patients_in_file_name_order(phantom_root: Path) -> None:
    scans = find_scans(phantom_root)
    assert [scan.name for scan in scans] == ["1", "2", "3", "4"]
    names = [path.name for path in scans[0].files]
    assert names == sorted(names) and len(names) == 7


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
    for wrong in (volume(16).reshape(4, 4, 5, 6).astype(np.int16), volume().astype(np.complex64)):
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
    with pytest.raises(UserError, match=f"{broken.name}: expected a CT slice, found damaged DICOM"):
        find_scans(tree, "2")
    assert find_scans(tree, "1")[0].shape[0] == 7


def test_what_a_scan_is_made_of_tells_it_from_another(write_series: Write, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_series(tmp_path / name / "CT", volume(), np.zeros(3), STEPS)
    shutil.copytree(tmp_path / "one", tmp_path / "moved")
    one, two, moved = (search(tmp_path / name).scans[0] for name in ("one", "two", "moved"))
    assert one.name == two.name == "CT" and one.identity == moved.identity != two.identity


def test_a_single_slice_says_what_its_volume_rests_on(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path, volume(1), np.zeros(3), STEPS, SliceThickness=3.0)
    (scan,) = find_scans(tmp_path)
    assert scan.warnings == ("a single slice: its volume is that of 3 mm",) and scan.step_mm == 3


def test_every_file_is_a_slice_or_left_out_with_a_reason(write_series: Write, tmp_path: Path) -> None:
    place = tmp_path / "in"
    write_series(place / "ct", volume(), np.zeros(3), STEPS)
    page = {"SeriesInstanceUID": "1.2.3", "SeriesNumber": 501, "SeriesDescription": "Dose"}
    (dose,) = write_series(place / "dose", volume(1), np.zeros(3), STEPS, **page)
    ds = pydicom.dcmread(dose)
    del ds.ImagePositionPatient
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.save_as(dose)
    (place / "notes.txt").write_text("no DICOM")
    for hidden in (".DS_Store", "._slice_0000.dcm"):
        (place / "ct" / hidden).write_bytes(b"\0\5\x16\7" + bytes(200))
    (place / "ct" / "broken.dcm").write_bytes(b"garbage")
    (place / "scan.nrrd").write_bytes(b"NRRD0004")
    (place / "nowhere").symlink_to(place / "absent")
    shutil.copy(get_testdata_file("DICOMDIR"), place / "DICOMDIR")
    result = search(place)
    below = {path for path in place.rglob("*") if path.is_file() or path.is_symlink()}
    told = [path for scan in result.scans for path in scan.files] + [item.path for item in result.left_out]
    assert sorted(told) == sorted(below)
    assert {item.path.name: item.lost for item in result.left_out} == {
        **dict.fromkeys((".DS_Store", "._slice_0000.dcm", "notes.txt", "DICOMDIR", dose.name), False),
        **dict.fromkeys(("broken.dcm", "scan.nrrd", "nowhere"), True),
    }
    assert result.scans[0].open().warnings == ("1 files beside its slices can't be read, broken.dcm first",)
    assert "1 left out, a page or picture without a place in the patient of series 501 'Dose'" in "\n".join(
        result.reasons()
    )


def test_folders_behind_links_are_searched_once(write_series: Write, tmp_path: Path) -> None:
    write_series(tmp_path / "elsewhere" / "q2", volume(), np.zeros(3), STEPS, PatientID="q2")
    write_series(tmp_path / "in" / "q1", volume(), np.zeros(3), STEPS)
    (tmp_path / "in" / "q2").symlink_to(tmp_path / "elsewhere" / "q2")
    (tmp_path / "in" / "q1" / "round").symlink_to(tmp_path / "in")
    result = search(tmp_path / "in")
    assert [scan.name for scan in result.scans] == ["q1", "q2"]
    assert [item.reason for item in result.left_out] == ["a folder that was met before, by a link"]


def test_an_unreadable_folder_is_named(write_series: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "p1", volume(), np.zeros(3), STEPS)
    (tmp_path / "p2").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("p2"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    result = search(tmp_path)
    assert [(item.path.name, item.lost) for item in result.left_out] == [("p2", True)]
    assert result.reasons() == ["1 left out, can't be read (Permission denied): p2"]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_slices_without_preamble_or_suffix_are_read(write_series: Write, tmp_path: Path, syntax: UID) -> None:
    hu = volume()
    for rank, path in enumerate(write_series(tmp_path, hu, np.zeros(3), STEPS)):
        ds = pydicom.dcmread(path)
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
        bare = pydicom.Dataset()
        bare.update(ds)
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        pydicom.dcmwrite(tmp_path / f"IM{rank:03d}", bare, implicit_vr=implicit, little_endian=little)
        path.unlink()
    (scan,) = find_scans(tmp_path)
    assert all((scan.hu(rank) == hu[rank]).all() for rank in range(4))


def test_a_chaos_tree_is_read_as_training_reads_it(tree: Path, tmp_path: Path) -> None:
    folder = tree / "Train_Sets" / "CT" / "1" / "DICOM_anon"
    identity = search(tree).scans[0].identity
    shutil.copytree(tree, tmp_path / "plain_copy")
    assert search(tmp_path / "plain_copy").scans[0].identity == identity
    for place in tmp_path.glob("plain_copy/Train_Sets/CT/1/DICOM_anon/*"):  # another patient's pixels in files of
        place.write_bytes(place.read_bytes()[:-40] + b"\7" * 40)  # these names and sizes, as all of CHAOS has
    assert search(tmp_path / "plain_copy").scans[0].identity != identity
    (folder / "._i0000,0000b.dcm").write_bytes(bytes(300))
    (folder / ".DS_Store").write_bytes(bytes(300))
    shutil.copy(max(folder.glob("*.dcm")), folder / "again")  # training takes .dcm alone
    result = search(tree)
    pairs, _ = pair_slices(find_patients(tree)["1"])
    for name in ("77.zip", "x.nii.gz", "._x.nii.gz", "CHAOS_Train_Sets.zip"):
        (folder.parent / name).write_bytes(b"damaged")
    said = {item.path.name: item.lost for item in search(tree).left_out}
    assert said["77.zip"] and said["x.nii.gz"] and not said["._x.nii.gz"] and not said["CHAOS_Train_Sets.zip"]
    assert result.scans[0].files == tuple(pair.path for pair in pairs) and result.scans[0].identity == identity
    assert result.scans[0].open().shape[0] == 7
    assert {item.path.name for item in result.left_out} > {"._i0000,0000b.dcm", ".DS_Store", "again"}


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_chaos_patient_of_two_series_is_refused(tree: Path, keyword: str) -> None:
    for path in sorted((tree / "Train_Sets" / "CT" / "2" / "DICOM_anon").iterdir())[4:]:
        ds = pydicom.dcmread(path)
        setattr(ds, keyword, "1.2.3.4")
        ds.save_as(path)
    with pytest.raises(UserError, match="expected one series of one patient, found 2 by PatientID"):
        find_scans(tree, "2")
    assert find_scans(tree, "1")[0].shape[0] == 7


def test_patients_of_a_chaos_tree_without_its_root_are_patients(phantom_root: Path) -> None:
    """Blank PatientIDs, one series UID each."""
    names = [scan.name for scan in choose(search(phantom_root / "Train_Sets" / "CT").scans, None)]
    assert names == ["1_DICOM_anon", "2_DICOM_anon", "3_DICOM_anon", "4_DICOM_anon"]


def test_what_can_be_a_slice_is_lost_wherever_it_lies(write_series: Write, tree: Path, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", volume(6), np.zeros(3), STEPS)
    (tmp_path / "in" / "IM006").write_bytes(bytes(5000))
    (tmp_path / "in" / "IM007").touch()
    shutil.make_archive(str(tmp_path / "whole"), "zip", tmp_path / "in")
    (tmp_path / "in" / "cut.zip").write_bytes((tmp_path / "whole.zip").read_bytes()[:-200])
    result = search(tmp_path / "in")
    assert {item.path.name for item in result.left_out if item.lost} == {"IM006", "IM007", "cut.zip"}
    assert "3 files beside its slices can't be read" in result.scans[0].open().warnings[0]
    patient = tree / "Train_Sets" / "CT" / "1"
    for place in (patient / "DICOM_anon" / "IMG-007", patient / "DICOM" / "a.dcm", tree / "clinic" / "a.dcm"):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(paths[0], place)
    assert sorted(item.path.name for item in search(tree).left_out if item.lost) == ["IMG-007", "a.dcm", "a.dcm"]
