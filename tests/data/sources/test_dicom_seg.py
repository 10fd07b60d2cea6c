"""CT series with DICOM-SEG: of this program, and of others with what they do otherwise."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from chaos_seg import predict as predict_door
from chaos_seg.config import TrainConfig
from chaos_seg.data.sources.chaos import find_patients, pair_slices
from chaos_seg.data.sources.dicom_seg import dicom_seg
from chaos_seg.data.store import StoredScan, open_patients
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.files import read_json

hd = pytest.importorskip("highdicom")

Write = Callable[..., list[Path]]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])
SHAPE = (5, 6, 7)
LIVER = np.random.default_rng(0).random(SHAPE) > 0.5
LIVER[[0, 3]] = False
TUMOUR = LIVER & (np.random.default_rng(1).random(SHAPE) > 0.5)

pytestmark = pytest.mark.filterwarnings("ignore:The string", "ignore:The value")


def write_seg(path: Path, slices: Sequence[Path], masks: Mapping[str, np.ndarray], kind: str = "BINARY") -> Path:
    """`masks` by label, of slices in any order, as a program that is not ours writes them."""
    sources, frame = [pydicom.dcmread(file) for file in slices], generate_uid()
    for source in sources:
        source.FrameOfReferenceUID = source.get("FrameOfReferenceUID", frame)
        for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"):
            setattr(source, keyword, "")
        source.ReferringPhysicianName, source.SliceThickness = "", 3
    code = hd.sr.CodedConcept("10200004", "SCT", "Liver")
    segments = [
        hd.seg.SegmentDescription(number, label, code, code, hd.seg.SegmentAlgorithmTypeValues.MANUAL)
        for number, label in enumerate(masks, 1)
    ]
    pixels = np.stack([*masks.values()], axis=-1).astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
    if kind == "LABELMAP":
        pixels = (pixels * np.arange(1, len(masks) + 1, dtype=np.uint8)).max(axis=-1)
    segmentation = hd.seg.Segmentation(
        sources, pixels, kind, segments, generate_uid(), 7, generate_uid(), 1, "maker", "model", "1", "0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)
    return path


@pytest.fixture
def work(tmp_path: Path, write_series: Write) -> Path:
    """Series a and b, of which a is segmented."""
    for name in "ab":
        hu = np.random.default_rng(ord(name)).integers(-900, 900, SHAPE).astype(np.int16)
        write_series(tmp_path / "work" / name, hu, np.array([1.0, 2, 30]), STEPS)
    write_seg(tmp_path / "work/masks/a.dcm", in_order(tmp_path / "work/a"), {"Liver": LIVER})
    return tmp_path / "work"


def in_order(folder: Path) -> list[Path]:
    """From the head down."""
    return sorted(folder.iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)


def opened(work: Path, **options: object) -> StoredScan:
    source = dicom_seg(work, **options)  # type: ignore[arg-type]
    assert [*source.patients] == ["a", "b"] and source.labelled == ["a"]
    (scan,) = open_patients(work.parent / "store", source, ["a"])
    return scan


def test_a_segmentation_is_laid_on_its_series(work: Path) -> None:
    scan = opened(work)
    for rank, path in enumerate(in_order(work / "a")):
        assert (scan.mask(rank) == LIVER[rank]).all()
        assert (scan.hu(rank) == pydicom.dcmread(path).pixel_array.astype(int) - 1024).all()


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize(
    ("labels", "expected"), [(["liver"], LIVER & ~TUMOUR), ([2], TUMOUR), (["Liver", "Tumour"], LIVER)]
)
def test_segments_by_label_and_number_whatever_the_order_of_their_frames(
    kind: str, labels: list[int | str], expected: np.ndarray, work: Path
) -> None:
    slices = in_order(work / "a")
    masks = {"Liver": (LIVER & ~TUMOUR)[::-1], "Tumour": TUMOUR[::-1]}
    write_seg(work / "masks/a.dcm", slices[::-1], masks, kind)
    scan = opened(work, labels=labels)
    assert all((scan.mask(rank) == expected[rank]).all() for rank in range(scan.slices))


def test_a_segmentation_that_was_corrected_is_read_again(work: Path) -> None:
    before = opened(work)
    write_seg(work / "masks/a.dcm", in_order(work / "a"), {"Liver": TUMOUR})
    after = opened(work)
    assert before.content != after.content and (after.mask(1) == TUMOUR[1]).all()


def of_no_series(work: Path) -> None:
    shutil.rmtree(work / "a")


def two_of_one(work: Path) -> None:
    shutil.copy(work / "masks/a.dcm", work / "masks/a_corrected.dcm")


def none(work: Path) -> None:
    (work / "masks/a.dcm").unlink()


def fractional(work: Path) -> None:
    write_seg(work / "masks/a.dcm", in_order(work / "a"), {"Liver": LIVER}, "FRACTIONAL")


def several(work: Path) -> None:
    write_seg(work / "masks/a.dcm", in_order(work / "a"), {"Liver": LIVER, "Tumour": TUMOUR})


def moved(work: Path) -> None:
    ds = pydicom.dcmread(work / "masks/a.dcm")
    ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] += 1.5
    ds.save_as(work / "masks/a.dcm")


def mirrored(work: Path) -> None:
    ds = pydicom.dcmread(work / "masks/a.dcm")
    ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    ds.save_as(work / "masks/a.dcm")


def damaged(work: Path) -> None:
    ds = pydicom.dcmread(work / "masks/a.dcm")
    del ds.SegmentSequence
    ds.save_as(work / "masks/a.dcm")


def cut_off(work: Path) -> None:
    path = work / "masks/a.dcm"
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("fault", "labels", "sentence"),
    [
        (of_no_series, None, r"a\.dcm: expected one CT series that it is of, found one that is not there \(\d+\..*\)"),
        (two_of_one, None, r"a_corrected\.dcm: expected one DICOM-SEG of a, found .*a\.dcm too; keep one"),
        (none, None, r"work: expected DICOM-SEG of its CT series, found none"),
        (fractional, None, r"a\.dcm: expected a DICOM-SEG of type BINARY or LABELMAP, found FRACTIONAL"),
        (several, None, r"labels: expected a choice among the segments of .*a\.dcm \(1 Liver, 2 Tumour\), found none"),
        (several, ["Liver", "Cyst"], r"labels: .*found Cyst in none of the DICOM-SEG, which have 1 Liver, 2 Tumour"),
        (lambda work: None, [], r"labels=\[\]: expected at least one segment"),
        (moved, None, r"a\.dcm: expected the geometry of .*slice_\d+\.dcm, 6 x 7 pixels, .*; found frame 1 of 6 x 7"),
        (mirrored, None, r"steps \(0\.6, 0, 0\) .*; found frame 1 of 6 x 7 pixels, steps \(-0\.6, 0, 0\)"),
        (damaged, None, r"a\.dcm: expected a DICOM-SEG, found a damaged one"),
        (cut_off, None, r"a\.dcm: expected a DICOM-SEG, found a damaged one"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    work: Path, fault: Callable[[Path], None], labels: list[int | str] | None, sentence: str
) -> None:
    fault(work)
    with pytest.raises(UserError, match=sentence):
        opened(work, labels=labels)
    assert not [*(work.parent / "store").glob("volumes/*")]


def test_a_root_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=null: expected the folder of CT series"):
        dicom_seg(None)
    with pytest.raises(UserError, match=r"data\.root=.*none: expected a folder or a file, found none"):
        dicom_seg(tmp_path / "none")


def test_predict_correct_train_again(
    configure: Callable[..., TrainConfig], phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, run = tmp_path / "work", tmp_path / "run"
    for patient, folder in find_patients(phantom_root).items():
        shutil.copytree(folder.dicom_dir, work / "scans" / patient)
    train(configure("epochs=1"), run)
    given = [f"ckpt={run / 'checkpoints' / 'best.ckpt'}", f"input={work / 'scans'}", f"output={work / 'masks'}"]
    monkeypatch.setattr(sys, "argv", ["predict", *given, "device=cpu", "alarms=false"])
    predict_door.main()
    predicted = {path.parent.parent.name: path for path in sorted(work.glob("masks/*/png/img003.png"))}
    # a person draws all of patient 1 anew, and lets the others be
    pairs, _ = pair_slices(find_patients(phantom_root)["1"])
    drawn = np.stack([pair.read_mask()[1] for pair in pairs])
    slices = [work / "scans" / "1" / pair.path.name for pair in pairs]
    write_seg(work / "masks" / "1" / "liver.dcm", slices, {"Liver": drawn})

    lists = [f"data.split.{side}=[scans_{k}]" for side, k in (("val", 3), ("test", 4))]
    again = configure(
        "data=dicom_seg", "data/split=paper", f"data.root={work}", "data.split.train=[scans_1,scans_2]", *lists,
        "data.audit=off", "epochs=1",
    )  # fmt: skip
    train(again, tmp_path / "again")
    assert read_json(tmp_path / "again" / "manifest.json")["status"] == "finished"
    scans = open_patients(Path(again.data.store), again.data.open(), ["scans_1", "scans_2"])
    assert (np.stack([scans[0].mask(rank) for rank in range(7)]) == drawn).all()
    assert (scans[1].mask(3) == (np.asarray(Image.open(predicted["2"])) > 0)).all()
