import shutil
from pathlib import Path

import pytest

from chaos_seg.data.sources import labelled_patients
from chaos_seg.data.sources.chaos import PatientFolder, chaos, find_patients, natural_key, pair_slices
from chaos_seg.errors import UserError


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_natural_order_puts_10_after_9() -> None:
    names = ["i0010,0000b.dcm", "IMG-0001-00010.dcm", "i0009,0000b.dcm", "IMG-0001-00009.dcm", "img10", "img9"]
    assert sorted(names, key=natural_key) == [
        "IMG-0001-00009.dcm",
        "IMG-0001-00010.dcm",
        "i0009,0000b.dcm",
        "i0010,0000b.dcm",
        "img9",
        "img10",
    ]


@pytest.mark.parametrize(
    "dicoms",
    [
        [f"i{k:04d},0000b.dcm" for k in range(12)],
        [f"IMG-0001-{k + 1:05d}.dcm" for k in range(12)],
        [f"IMG-0001-{k + 1}.DCM" for k in range(12)],
    ],
)
def test_kth_mask_belongs_to_kth_dicom_in_both_naming_schemes(tmp_path: Path, dicoms: list[str]) -> None:
    masks = [f"liver_GT_{k:03d}.png" for k in range(12)]
    folder = PatientFolder(
        "1", touch(tmp_path / "d", ["._x.dcm", *dicoms]), touch(tmp_path / "g", masks), tmp_path.resolve()
    )
    slices, faults = pair_slices(folder)
    assert faults == []
    assert [(rank, s.path.name, s.mask_path and s.mask_path.name) for rank, s in enumerate(slices)] == [
        (k, dicoms[k], masks[k]) for k in range(12)
    ]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([0, 1, 3], "without number 2"),
        ([1, 2, 3], "without number 0"),
        ([0, 1, 2, 3, 4], "with liver_GT_4.png too many"),
        ([0, 1, 2, 9], "without number 3, with liver_GT_9.png too many"),
    ],
)
def test_missing_or_extra_mask_is_named(tmp_path: Path, numbers: list[int], said: str) -> None:
    dicoms = touch(tmp_path / "d", [f"i{k:04d},0000b.dcm" for k in range(4)])
    masks = touch(tmp_path / "g", [f"liver_GT_{k}.png" for k in numbers])
    slices, (fault,) = pair_slices(PatientFolder("1", dicoms, masks, tmp_path.resolve()))
    expected_from = 1 if numbers == [1, 2, 3, 4] else 0
    assert slices == [] and said in str(fault) and f"numbered from {expected_from}" in str(fault)


def test_two_masks_of_one_number_are_named(tmp_path: Path) -> None:
    dicoms = touch(tmp_path / "d", [f"i{k:04d},0000b.dcm" for k in range(4)])
    masks = touch(tmp_path / "g", ["liver0.png", "liver1.png", "liver01.png", "liver2.png"])
    slices, (fault,) = pair_slices(PatientFolder("1", dicoms, masks, tmp_path.resolve()))
    assert slices == [] and "expected one mask a number, found liver" in str(fault) and "liver01.png" in str(fault)


def test_masks_may_count_from_1(tmp_path: Path) -> None:
    dicoms = touch(tmp_path / "d", [f"i{k:04d},0000b.dcm" for k in range(3)])
    masks = touch(tmp_path / "g", [f"liver{k}.png" for k in (1, 2, 3)])
    slices, faults = pair_slices(PatientFolder("1", dicoms, masks, tmp_path.resolve()))
    assert not faults and [s.mask_path and s.mask_path.name for s in slices] == [
        "liver1.png",
        "liver2.png",
        "liver3.png",
    ]


def test_test_set_has_no_masks_and_mr_is_ignored(tree: Path) -> None:
    ct = tree / "Train_Sets" / "CT"
    shutil.copytree(ct / "1" / "DICOM_anon", tree / "Test_Sets" / "CT" / "11" / "DICOM_anon")
    shutil.copytree(ct / "1" / "DICOM_anon", tree / "Train_Sets" / "MR" / "50" / "DICOM_anon")
    found = find_patients(tree)
    assert list(found) == ["1", "2", "3", "4", "11"]
    assert found["11"].mask_dir is None and found["1"].mask_dir == ct / "1" / "Ground"


def test_errors_name_what_is_missing(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: expected the folder that holds Train_Sets, found no such folder"):
        find_patients(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: expected Train_Sets/CT/<id>/DICOM_anon"):
        find_patients(tmp_path / "empty")
    shutil.rmtree(tree / "Train_Sets" / "CT" / "2" / "Ground")
    folders, faults = labelled_patients(chaos(tree), ["4", "1", "8", "2"])
    assert [folder.patient for folder in folders] == ["4", "1"] and len(faults) == 2
    assert "the split names patient 8, but the tree has 1, 2, 3, 4" in str(faults[0])
    _, (fault,) = labelled_patients(chaos(tree), ["30", "4", "28", "24"])
    assert "the split names patients 30, 28, 24, but the tree has 1, 2, 3, 4; " in str(fault)
    assert "data/split=seeded or data/split=kfold" in str(fault)
    assert "expected masks (CHAOS has them in Ground beside it), found none; take patient 2 out" in str(faults[1])
    shutil.copytree(tree / "Train_Sets" / "CT" / "1", tree / "Test_Sets" / "CT" / "1")
    with pytest.raises(UserError, match="patient 1 is also in"):
        find_patients(tree)
