"""What `predict` writes on demand: one file, a table over all scans, labels from settings, probabilities."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from chaos_seg import predict as command
from chaos_seg.data.scan import Scan
from chaos_seg.files import read_csv, read_json

pytest.importorskip("highdicom")
sitk = pytest.importorskip("SimpleITK")

Write = Callable[..., list[Path]]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """`python -m chaos_seg.predict` in this process, in tmp_path; returns the sentence that it ends with."""

    def passes(_: object, scan: Scan) -> Iterator[np.ndarray]:
        yield from ((plane > 0)[None].astype(np.float32) for plane in map(scan.hu, range(scan.slices)))

    model = SimpleNamespace(threshold=100.0, training_range=None, temperature=None, largest_component=False)
    model.to = lambda _: SimpleNamespace(eval=int)
    monkeypatch.setattr(command, "load_model", lambda path: (model, 0))
    monkeypatch.setattr(command.Predictor, "passes", passes)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ckpt").write_bytes(b"a model")

    def run(*overrides: str) -> str:
        monkeypatch.setattr(sys, "argv", ["predict", "ckpt=a.ckpt", "device=cpu", *overrides])
        try:
            command.main()
        except SystemExit as end:
            return str(end.code)
        finally:
            logging.getLogger().handlers.clear()
        return ""

    return run


@pytest.fixture
def two(write_series: Write, tmp_path: Path) -> np.ndarray:
    """in/one and in/two: series of 4 slices with a bright block, which is returned as a mask."""
    block = np.zeros((4, 9, 8), bool)
    block[1:3, 2:6, 3:7] = True
    for name, hu in (("one", 50), ("two", 90)):
        write_series(tmp_path / "in" / name, np.where(block, hu, -100), np.zeros(3), STEPS, PatientID=name)
    return block


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("liver.nii.gz", ()),
        ("new/liver.dcm", ()),
        ("liver.dcm", ("formats=[rtstruct]",)),
        ("p.nii.gz", ("formats=[probability]",)),
    ],
)
def test_one_scan_is_one_file(
    predict: Callable[..., str], two: np.ndarray, tmp_path: Path, output: str, options: tuple[str, ...]
) -> None:
    assert predict("input=in/one", f"output={output}", *options) == ""
    path = tmp_path / output
    if output.endswith(".nii.gz"):
        assert (sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[::-1] == two).all()
    else:
        assert pydicom.dcmread(path).Modality == ("RTSTRUCT" if options else "SEG")
    assert [item.name for item in path.parent.iterdir() if item.name not in ("in", "a.ckpt")] == [path.name]
    assert predict("input=in/one", f"output={output}", *options).startswith(f"output={output}: expected a new file")


def test_one_file_for_several_scans_or_of_another_format_is_refused(
    predict: Callable[..., str], two: np.ndarray, tmp_path: Path
) -> None:
    said = predict("input=in", "output=a.nii.gz")
    assert said.startswith(
        "output=a.nii.gz: expected one scan for one file, found 2 (one, two); choose one with series="
    )
    said = predict("input=in/one", "output=a.dcm", "formats=[nifti]")
    assert said.startswith("formats=nifti: expected one of dicom_seg, rtstruct for output=a.dcm")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.ckpt", "in"]
    assert predict("input=in", "series=two", "output=a.nii.gz") == "" and (tmp_path / "a.nii.gz").is_file()


def test_a_table_over_all_scans(predict: Callable[..., str], two: np.ndarray, tmp_path: Path) -> None:
    assert predict("input=in", "output=out", "formats=[measures]") == ""
    rows = read_csv(tmp_path / "out" / "summary.csv")
    assert [(row["scan"], float(row["mean_hu"]), float(row["median_hu"])) for row in rows] == [
        ("one", 50, 50),
        ("two", 90, 90),
    ]
    assert [float(row["volume_ml"]) for row in rows] == pytest.approx([two.sum() * 3 * 0.8 * 0.6 / 1000] * 2)
    assert predict("input=in", "output=out", "formats=[measures]") == ""  # kept, and in the table again
    assert read_csv(tmp_path / "out" / "summary.csv") == rows


def test_labels_of_a_segment_are_settings_and_others_are_another_segmentation(
    predict: Callable[..., str], two: np.ndarray, tmp_path: Path
) -> None:
    said = ("format.dicom_seg.series_description=Leber, k=1", "format.dicom_seg.colour=[0,255,0]")
    assert predict("input=in/one", "output=plain", "formats=[dicom_seg]") == ""
    assert predict("input=in/one", "output=named", "formats=[dicom_seg]", *said) == ""
    plain, named = (pydicom.dcmread(tmp_path / folder / "one" / "liver.dcm") for folder in ("plain", "named"))
    assert (plain.SeriesDescription, named.SeriesDescription) == ("Liver segmentation (chaos_seg)", "Leber, k=1")
    lightness, a, b = named.SegmentSequence[0].RecommendedDisplayCIELabValue
    assert (round(lightness / 655.35), round(a / 257 - 128), round(b / 257 - 128)) == (88, -86, 83)  # CIE Lab of green
    assert plain.SOPInstanceUID != named.SOPInstanceUID
    assert read_json(tmp_path / "plain" / "one" / "summary.json")["made_of"]["format"] is None
    assert "Not predicted" in predict("input=in/one", "output=named", "formats=[dicom_seg]")


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("+format.rtstrct.bits=8", "format.rtstrct: expected one of "),
        ("+format.png.bits=8", "format png: got an unexpected keyword argument 'bits'"),
        (
            "format.probability.calibrated=true",
            "a.ckpt: expected a temperature for calibrated probabilities, found none",
        ),
    ],
)
def test_options_that_nothing_has_are_refused_before_anything_is_read(
    predict: Callable[..., str], tmp_path: Path, option: str, sentence: str
) -> None:
    assert predict("input=nowhere", "output=out", "formats=[png,probability]", option).startswith(sentence)
    assert not (tmp_path / "out").exists()
