"""CHAOS MR: a tree of synthetic greys in its layout, read, audited and refused."""

import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from chaos_seg import predict as predict_door
from chaos_seg.config import TrainConfig
from chaos_seg.data.audit import audit
from chaos_seg.data.greys import as_ct
from chaos_seg.data.sources.chaos_mr import chaos_mr
from chaos_seg.data.sources.phantom import render
from chaos_seg.data.store import StoredScan, open_patients
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.files import read_csv, read_json

Write = Callable[..., list[Path]]
SLICES, SIZE = 20, 96
ORIGIN, STEPS = np.array([-180.0, -180, 100]), np.array([[0, 0, -12.0], [0, 3.85, 0], [3.85, 0, 0]])
MR = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "PatientID": ""}
MR |= {"RescaleSlope": None, "RescaleIntercept": None}  # type: ignore[dict-item]


@cache
def greys(patient: int) -> tuple[np.ndarray, np.ndarray]:
    """Slices of a phantom as one MR has them, each patient brighter than the last, and its liver."""
    hu, liver = zip(*render(np.random.default_rng(patient), SLICES, SIZE), strict=True)
    return ((np.stack(hu).clip(-200, 400) + 200) * 3 * patient).astype(np.int16), np.stack(liver)


def write_mr(folder: Path, planes: np.ndarray, write_series: Write, first: int, step: int) -> None:
    """As IMG-0004-00002.dcm, numbered from `first` by `step`."""
    for rank, path in enumerate(write_series(folder, planes - 1024, ORIGIN, STEPS, **MR)):
        path.rename(folder / f"IMG-0004-{first + step * rank:05d}.dcm")


@pytest.fixture
def mr_tree(tmp_path: Path, write_series: Write) -> Path:
    for patient in (1, 2):
        planes, liver = greys(patient)
        place = tmp_path / "tree/Train_Sets/MR" / str(patient)
        write_mr(place / "T2SPIR/DICOM_anon", planes, write_series, 1, 1)
        write_mr(place / "T1DUAL/DICOM_anon/InPhase", planes + 7, write_series, 2, 2)
        write_mr(place / "T1DUAL/DICOM_anon/OutPhase", planes + 9, write_series, 1, 2)
        other = np.zeros((SIZE, SIZE), np.uint8)
        other[:4, :4], other[4:8] = 126, 252  # kidney and spleen
        for sequence, first, step in (("T2SPIR", 1, 1), ("T1DUAL", 2, 2)):
            (place / sequence / "Ground").mkdir()
            for rank, mask in enumerate(liver):
                grey = np.where(mask, np.where(np.arange(SIZE) % 2, 55, 70), other).astype(np.uint8)
                Image.fromarray(grey).save(place / sequence / f"Ground/IMG-0004-{first + step * rank:05d}.png")
    return tmp_path / "tree"


def opened(tree: Path, sequence: str) -> list[StoredScan]:
    source = chaos_mr(tree, sequence=sequence)
    assert source.labelled == ["1", "2"]
    return open_patients(tree.parent / "store", source, source.labelled)


@pytest.mark.parametrize(("sequence", "added"), [("T2SPIR", 0), ("InPhase", 7), ("OutPhase", 9)])
def test_greys_as_they_are_and_the_liver_of_four_organs(sequence: str, added: int, mr_tree: Path) -> None:
    for patient, scan in enumerate(opened(mr_tree, sequence), 1):
        planes, liver = greys(patient)
        assert scan.modality == "MR" and scan.meta.mask_encodings == ["L 55 to 70"]
        assert all((scan.hu(rank) == planes[rank] + added).all() for rank in range(SLICES))
        assert all((scan.mask(rank) == liver[rank]).all() for rank in range(SLICES))


def test_greys_beyond_those_of_ct_are_kept(mr_tree: Path) -> None:
    path = mr_tree / "Train_Sets/MR/1/T2SPIR/DICOM_anon/IMG-0004-00001.dcm"
    ds = pydicom.dcmread(path)
    ds.PixelData = np.full((SIZE, SIZE), 9000, "<i2").tobytes()
    ds.save_as(path)
    assert opened(mr_tree, "T2SPIR")[0].hu(0).max() == 9000


def test_the_audit_of_mr_has_no_rule_of_ct(mr_tree: Path) -> None:
    scans = opened(mr_tree, "T2SPIR")
    _, findings = audit(scans, {"1": "train", "2": "val"})
    assert {finding.code for finding in findings} <= {"same_person", "leak", "liver_cut_off"}
    assert as_ct(scans[0]).hu(5).min() >= -101 and as_ct(scans[0]).hu(5).max() > 150


def test_reversed_masks_of_mr_are_a_warning(mr_tree: Path) -> None:
    ground = mr_tree / "Train_Sets/MR/1/T2SPIR/Ground"
    masks = sorted(ground.iterdir())
    contents = [path.read_bytes() for path in masks]
    for path, content in zip(masks, reversed(contents), strict=True):
        path.write_bytes(content)
    _, findings = audit(opened(mr_tree, "T2SPIR"), {})
    levels = {finding.code: finding.level for finding in findings}
    assert levels["masks_reversed"] == "warning" and "error" not in levels.values()


def lost(tree: Path) -> None:
    (tree / "Train_Sets/MR/1/T2SPIR/Ground/IMG-0004-00004.png").unlink()


def lost_and_one_too_many(tree: Path) -> None:
    folder = tree / "Train_Sets/MR/1/T2SPIR/Ground"
    (folder / "IMG-0004-00004.png").rename(folder / "IMG-0004-00099.png")


def of_ct(tree: Path) -> None:
    path = tree / "Train_Sets/MR/1/T2SPIR/DICOM_anon/IMG-0004-00001.dcm"
    ds = pydicom.dcmread(path)
    ds.Modality = "CT"
    ds.save_as(path)


def emptied(tree: Path) -> None:
    shutil.rmtree(tree / "Train_Sets/MR/1/T2SPIR/DICOM_anon")
    (tree / "Train_Sets/MR/1/T2SPIR/DICOM_anon").mkdir()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            lost,
            r"Ground: expected a PNG for each \.dcm of .*, numbered alike, found 20 and 19, numbered 1 2 3",
        ),
        (lost_and_one_too_many, r"numbered alike, found 20 and 20, numbered 1 2 3 \.\.\. 19 20 and 1 2 3 \.\.\. 20 99"),
        (of_ct, r"IMG-0004-00001\.dcm: expected Modality MR, found CT; remove"),
        (emptied, r"numbered alike, found 0 and 20, numbered not at all and 1 2 3"),
    ],
)
def test_what_does_not_pair_is_refused(fault: Callable[[Path], None], sentence: str, mr_tree: Path) -> None:
    fault(mr_tree)
    with pytest.raises(UserError, match=sentence):
        opened(mr_tree, "T2SPIR")


def test_what_is_no_mr_tree_is_refused(phantom_root: Path, mr_tree: Path) -> None:
    with pytest.raises(UserError, match=r"expected Train_Sets/MR/<id>/T2SPIR/DICOM_anon below it, found no MR patient"):
        chaos_mr(phantom_root)
    with pytest.raises(UserError, match=r"data\.source\.sequence=T1: expected one of T2SPIR, InPhase, OutPhase"):
        chaos_mr(mr_tree, sequence="T1")
    with pytest.raises(UserError, match="No data root"):
        chaos_mr(None)


def predicted(run: Path, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    given = [f"ckpt={run / 'checkpoints' / 'best.ckpt'}", f"input={source}", f"output={output}", "device=cpu"]
    given.append("postprocess=none")
    monkeypatch.setattr(sys, "argv", ["predict", *given])
    predict_door.main()
    (folder,) = (path for path in output.iterdir() if path.is_dir())
    return {**read_json(folder / "summary.json"), "folder": folder}


def test_train_on_mr_and_predict_mr(
    configure: Callable[..., TrainConfig],
    mr_tree: Path,
    phantom_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("highdicom")
    given = ("data=chaos_mr", "data/split=paper", f"data.root={mr_tree}", "preprocessing=percentiles")
    lists = ("data.split.train=[1]", "data.split.val=[2]", "data.split.test=[]")
    run = tmp_path / "run"
    train(configure(*given, *lists, "epochs=10"), run)
    rows = {row["patient"]: row for row in read_csv(run / "per_patient.csv")}
    place = mr_tree / "Train_Sets/MR/2/T2SPIR/DICOM_anon"
    summary = predicted(run, place, tmp_path / "masks", monkeypatch)
    pixels = sum(int((np.asarray(Image.open(path)) > 0).sum()) for path in summary["folder"].glob("png/*.png"))
    assert 0 < pixels < 0.9 * SLICES * SIZE**2
    assert pixels == int(rows["2"]["tp"]) + int(rows["2"]["fp"])  # in another process, of another source: the same mask
    assert not [note for note in summary["warnings"] if "HU" in note or "air or fat" in note]
    seg = pydicom.dcmread(summary["folder"] / "liver.dcm")
    reference = seg.SharedFunctionalGroupsSequence[0].get("DerivationImageSequence")
    reference = reference or seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    assert reference[0].SourceImageSequence[0].ReferencedSOPClassUID == MR["SOPClassUID"]

    # Twice as bright is the same input, and a NIfTI of it is the same scan.
    nib = pytest.importorskip("nibabel")
    planes = greys(2)[0].astype(np.float32) * 2
    nib.save(nib.Nifti1Image(planes.transpose(2, 1, 0), np.diag([-3.85, -3.85, -12, 1])), tmp_path / "scan.nii.gz")
    brighter = predicted(run, tmp_path / "scan.nii.gz", tmp_path / "brighter", monkeypatch)
    again = sum(int((np.asarray(Image.open(path)) > 0).sum()) for path in brighter["folder"].glob("png/*.png"))
    assert again == pixels

    with pytest.raises(SystemExit, match=r"input=.*: expected a MR series or a NIfTI file, found none"):
        predicted(run, phantom_root / "Train_Sets/CT/1", tmp_path / "ct", monkeypatch)
