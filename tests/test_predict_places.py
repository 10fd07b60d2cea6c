"""The whole command, with a stand-in for the network, on scans of every geometry: the mask is where the scan is, or its
format is refused in words.
"""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from chaos_seg import predict as command
from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.inference import outputs
from tests.points import (
    by_highdicom,
    by_itk,
    by_nibabel,
    by_png,
    nib,
    same_points,
    sitk,
    source_points,
)

Write = Callable[..., list[Path]]
Predict = Callable[..., tuple[int, str]]


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """`python -m chaos_seg.predict` in this process; liver is where HU are above 0."""

    def passes(_: object, scan: Scan) -> Iterator[np.ndarray]:
        yield from ((scan.hu(rank) > 0)[None].astype(np.float32) for rank in range(scan.slices))

    model = SimpleNamespace(threshold=100.0, training_range=None, largest_component=False)
    model.to = lambda _: SimpleNamespace(eval=int)
    monkeypatch.setattr(command, "load_model", lambda path: (model, 0))
    monkeypatch.setattr(command.Predictor, "passes", passes)
    (tmp_path / "a.ckpt").write_bytes(b"a model")

    def run(place: Path, *overrides: str) -> tuple[int, str]:
        given = [f"ckpt={tmp_path / 'a.ckpt'}", f"input={place}", f"output={tmp_path / 'out'}", "device=cpu"]
        monkeypatch.setattr(sys, "argv", ["predict", *given, *overrides])
        capsys.readouterr()
        code: object = 0
        try:
            command.main()
        except SystemExit as end:
            code = end.code
        finally:
            logging.getLogger().handlers.clear()
        said = capsys.readouterr()
        return (1 if isinstance(code, str) else int(code or 0)), f"{said.out}{said.err}{code}"  # type: ignore[call-overload]

    return run


STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.8, 0, 0]])
SHIFT = np.array([[40.0, 0, 0]] * 6)
OBLIQUE = Rotation.from_euler("xyz", (9, -14, 21), degrees=True).as_matrix()
TILT = np.array([0, 3 * np.tan(np.radians(15)), 0])  # mm to the back a slice


def step_by_step(*steps: float) -> np.ndarray:
    return np.cumsum([0, *steps])[:, None] * [0, 0, -1]


# Steps to the next slice, row and column; where slices lie apart from that; whether NIfTI can hold it.
GEOMETRIES: dict[str, tuple[np.ndarray, np.ndarray | None, str | None]] = {
    "plain": (STEPS, None, None),
    "tilt": (
        np.stack([STEPS[0] + TILT, STEPS[1], STEPS[2]]),
        None,
        "gantry tilt: slices move sideways along z by 15.0°",
    ),
    "shift": (
        STEPS,
        np.arange(12)[:, None] * STEPS[0] + np.concatenate([0 * SHIFT, SHIFT]),
        "up to 40.0 mm, most betw",
    ),
    "fine after coarse": (STEPS, step_by_step(*[5] * 5, *[1.25] * 6), "uneven: slices are 1.25 mm apart, but not from"),
    "gap of 1.5 steps": (
        STEPS,
        step_by_step(*[3] * 6, 4.5, *[3] * 4),
        "uneven: slices are 3.00 mm apart, but not from",
    ),
    "gap of 3 steps": (STEPS, step_by_step(*[3] * 6, 9, *[3] * 4), None),
    "feet first": (STEPS * [[-1], [1], [-1]], None, None),
    "oblique": (STEPS @ OBLIQUE, None, None),
    "non-square": (STEPS * [[1], [1.6], [0.7]], None, None),
    "one slice": (STEPS, None, None),
    "written from the feet up": (STEPS * [[-1], [1], [1]], None, None),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_mask_is_where_the_scan_is_or_its_format_is_refused(
    write_series: Write, predict: Predict, tmp_path: Path, name: str
) -> None:
    steps, places, refusal = GEOMETRIES[name]
    shape = (1 if name == "one slice" else 12, 20, 34 if name == "non-square" else 20)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    index[..., 0] += 4 * (name == "one slice")
    inside = (((index - [4, 9, 8]) / [4, 7, 5]) ** 2).sum(-1) < 1
    hu = np.where(inside | (np.abs(index - [6, 14, 15]).max(-1) < 3), 120, -120)
    origin = np.array([-60.0, 31, 700])
    positions = origin + (np.arange(len(hu))[:, None] * steps[0] if places is None else places)
    tags = {"ImagePositionPatient": lambda rank: [round(float(mm), 6) for mm in positions[rank]]}
    paths = write_series(tmp_path / "in", hu, origin, steps, SliceThickness=3, **tags)
    expected = source_points(paths)
    code, said = predict(tmp_path / "in", "formats=[png,nifti,dicom_seg]")
    out = tmp_path / "out" / "in"
    summary = json.loads((out / "summary.json").read_text())
    assert same_points(by_png(out / "png", paths), expected)
    assert same_points(by_highdicom(out / "liver.dcm", paths), expected)
    if refusal is None:
        assert code == 0 and summary["refused"] == {}, said
        assert same_points(by_nibabel(out / "liver.nii.gz"), expected)
        assert same_points(by_itk(out / "liver.nii.gz"), expected)
    else:
        assert code == 1 and not (out / "liver.nii.gz").exists()
        assert refusal in summary["refused"]["nifti"] and "in: no nifti: NIfTI has one step" in said
        assert any(refusal in warning for warning in summary["warnings"])
        assert f"a format refused for: in; see above, and {tmp_path / 'out' / 'summary.json'}" in said
    assert any("squeezed to a square" in warning for warning in summary["warnings"]) == (name == "non-square")
    millilitres = f"{summary['volume_ml']:.0f} ml in {summary['slices_with_liver']} of {len(hu)} slices"
    assert millilitres in said and (name != "plain" or f"a liver of {summary['volume_ml']:.0f} ml" in said)
    if shutil.which("dciodvfy"):  # of dicom3tools
        errors = subprocess.run(["dciodvfy", str(out / "liver.dcm")], capture_output=True, text=True).stderr
        assert "Error" not in errors, errors


@pytest.mark.parametrize("name", ["plain", "feet first", "oblique", "non-square", "written from the feet up"])
def test_the_nifti_is_on_the_grid_that_itk_makes_of_the_series(
    write_series: Write, predict: Predict, tmp_path: Path, name: str
) -> None:
    steps, _, _ = GEOMETRIES[name]
    hu = np.random.default_rng(0).integers(-100, 100, (6, 20, 34 if name == "non-square" else 20))
    write_series(tmp_path / "in", hu, np.array([-60.0, 31, 700]), steps)
    assert predict(tmp_path / "in")[0] == 0
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "in")))
    ct, mask = reader.Execute(), sitk.ReadImage(str(tmp_path / "out" / "in" / "liver.nii.gz"))
    header = nib.load(tmp_path / "out" / "in" / "liver.nii.gz").header
    assert [header.get_qform(coded=True)[1], header.get_sform(coded=True)[1]] == [1, 1]  # some read one, some the other
    assert np.allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    assert ct.GetSize() == mask.GetSize()
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(mask, what)() == pytest.approx(getattr(ct, what)(), abs=1e-4)
    sitk.ProcessObject.SetGlobalDefaultCoordinateTolerance(1e-4 if name == "oblique" else 1e-6)  # NIfTI has float32
    masked = sitk.GetArrayFromImage(sitk.Mask(ct, mask, -9999))
    sitk.ProcessObject.SetGlobalDefaultCoordinateTolerance(1e-6)
    values = sitk.GetArrayFromImage(ct)
    assert ((masked != -9999) == (values > 0)).all() and (values > 0).any()


def test_a_nifti_that_itk_and_nibabel_read_as_one_gives_a_mask_that_they_do(predict: Predict, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(-100, 100, (7, 6, 5)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([-0.8, 0.9, 2, 1])), tmp_path / "a.nii.gz")
    code, said = predict(tmp_path / "a.nii.gz")
    assert code == 0, said  # without DICOM there is no DICOM-SEG by default
    assert (np.asarray(nib.load(tmp_path / "out" / "a" / "liver.nii.gz").dataobj) == (data > 0)).all()
    code, said = predict(tmp_path / "a.nii.gz", "formats=[nifti,dicom_seg]", f"output={tmp_path / 'more'}")
    assert code == 1 and "no dicom_seg: DICOM-SEG refers to DICOM slices" in said
    assert (tmp_path / "more" / "a" / "liver.nii.gz").exists()


@pytest.mark.parametrize("broken", ["exception", "pixels"])
def test_a_broken_scan_does_not_stop_the_next(
    write_series: Write, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    for name in ("p1", "p2", "p3"):
        paths = write_series(tmp_path / "in" / name, np.full((3, 8, 8), 50), np.zeros(3), STEPS, PatientID=name)
        if name == "p2" and broken == "pixels":
            paths[1].write_bytes(paths[1].read_bytes()[:-50])
    if broken == "exception":
        predict_scan = outputs.predict_scan

        def fail(scan: object, *rest: object, **options: object) -> object:
            if scan.name == "p2":  # type: ignore[attr-defined]
                raise ZeroDivisionError("of another library")
            return predict_scan(scan, *rest, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(outputs, "predict_scan", fail)
    code, said = predict(tmp_path / "in", "formats=[png]", "alarms=false")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "p1", "p3", "summary.json"]
    assert code == 1 and "Not predicted: p2" in said
    assert ("Traceback" in said) == (broken == "exception")  # what nobody foresaw can be reported
    whole = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [scan["status"] for scan in whole["scans"]] == ["predicted", "failed", "predicted"]
    assert whole["files_of_scans"] == 9 and whole["left_out"] == []


def test_masks_are_kept_for_the_same_scan_and_settings_alone(
    write_series: Write, predict: Predict, tmp_path: Path
) -> None:
    write_series(tmp_path / "in", np.full((3, 8, 8), 50), np.zeros(3), GEOMETRIES["tilt"][0])
    given = "formats=[png,nifti]"
    for said_of_it in ("ml in 3 of 3 slices", "in: done before"):
        code, said = predict(tmp_path / "in", given)
        assert code == 1 and said_of_it in said and "in: no nifti: NIfTI has one step" in said  # refused before too
    for other, names in (("threshold=50", "threshold"), ("alarms=false", "alarms"), ("formats=[png]", "formats")):
        code, said = predict(tmp_path / "in", given, other)
        assert code == 1 and f"expected the masks of this command, found those of another {names}" in said
    (tmp_path / "out" / "in" / "alarms.html").unlink()
    code, said = predict(tmp_path / "in", given)
    assert code == 1 and "expected alarms.html of a former run, found it gone" in said
    (tmp_path / "out" / "in" / "alarms.html").touch()
    code, said = predict(tmp_path / "in", given)
    assert code == 1 and "expected alarms.html of a former run, found it gone or empty" in said
    (tmp_path / "out" / "in" / "alarms.html").write_text("there")
    shutil.rmtree(tmp_path / "in")
    write_series(tmp_path / "in", np.full((3, 8, 8), 60), np.zeros(3), GEOMETRIES["tilt"][0])
    code, said = predict(tmp_path / "in", given)
    assert code == 1 and "found those of another scan" in said


def test_a_lost_rescale_is_said_without_alarms_too(write_series: Write, predict: Predict, tmp_path: Path) -> None:
    write_series(tmp_path / "in", np.full((3, 8, 8), 50), np.zeros(3), STEPS)
    code, said = predict(tmp_path / "in", "formats=[png]", "alarms=false")
    assert code == 0 and "no CT in HU, or a lost rescale" in said


def test_files_left_out_are_counted_and_decide_the_exit_code(
    write_series: Write, predict: Predict, tmp_path: Path
) -> None:
    write_series(tmp_path / "in", np.full((3, 8, 8), 50), np.zeros(3), STEPS)
    (tmp_path / "in" / "notes.txt").write_text("x")
    code, said = predict(tmp_path / "in", "formats=[png]")
    assert code == 0 and "1 left out, neither DICOM nor NIfTI: notes.txt" in said
    assert "Files: 3 are slices of scans, 1 are left out." in said
    (tmp_path / "in" / "broken.dcm").write_bytes(b"x")
    code, said = predict(tmp_path / "in", "formats=[png]", f"output={tmp_path / 'more'}")
    assert code == 1 and "1 files or folders left out that may hold slices" in said
    whole = json.loads((tmp_path / "more" / "summary.json").read_text())
    assert [(Path(item["file"]).name, item["may_be_slices"]) for item in whole["left_out"]] == [
        ("broken.dcm", True),
        ("notes.txt", False),
    ]
    assert whole["scans"][0]["files"] == 3 and whole["scans"][0]["volume_ml"] > 0


def test_a_zip_goes_through_the_whole_command(write_series: Write, predict: Predict, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", np.full((3, 8, 8), 50), np.zeros(3), STEPS)
    shutil.make_archive(str(tmp_path / "scan"), "zip", tmp_path / "ct")
    code, said = predict(tmp_path / "scan.zip")
    assert code == 0, said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "scan", "summary.json"]
    assert same_points(by_nibabel(tmp_path / "out" / "scan" / "liver.nii.gz"), source_points(paths))


def test_an_output_that_stays_empty_is_not_made(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    code, said = predict(tmp_path / "in")
    assert code == 1 and "found none" in said and not (tmp_path / "out").exists()
    code, said = predict(tmp_path / "in", "output=/proc/x/y")
    assert code == 1 and "output=/proc/x/y: it can't be made" in said and "Traceback" not in said


def test_set_3_is_on_its_own_grid(real_root: Path, predict: Predict, tmp_path: Path) -> None:
    series = real_root / "Train_Sets" / "CT" / "3" / "DICOM_anon"
    shutil.make_archive(str(tmp_path / "set3"), "zip", series)
    code, said = predict(tmp_path / "set3.zip", "alarms=false")
    assert code == 0, said
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    ct, mask = reader.Execute(), sitk.ReadImage(str(tmp_path / "out" / "set3" / "liver.nii.gz"))
    assert (sitk.GetArrayFromImage(sitk.Mask(ct, mask, -9999)) != -9999).sum() == (sitk.GetArrayFromImage(ct) > 0).sum()
    (scan,) = find_scans(series).scans
    paths = list(scan.files)
    assert same_points(by_highdicom(tmp_path / "out" / "set3" / "liver.dcm", paths), source_points(paths))
    if shutil.which("dciodvfy"):
        seg = str(tmp_path / "out" / "set3" / "liver.dcm")
        assert "Error" not in subprocess.run(["dciodvfy", seg], capture_output=True, text=True).stderr
