"""From HU to masks in other tools' formats: the same points of the patient, whatever the scan's geometry."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from chaos_seg.data.dicom import read_mask
from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import choose, find_scans
from chaos_seg.inference.formats import writers_for
from chaos_seg.inference.mask import PackedMask
from chaos_seg.inference.prediction import predict_scan
from tests.points import same_points

Write = Callable[..., list[Path]]


def opened(place: Path, series: str | None = None) -> Scan:
    (found,) = choose(find_scans(place).scans, None if series is None else [series])
    return found.open()


def write_masks(mask: PackedMask, scan: Scan, formats: list[str], folder: Path) -> list[str]:
    """Returns what the formats have to say of it."""
    writers, refused = writers_for(scan, formats)
    for writer in writers.values():
        writer.write(mask, folder)
    return [note for writer in writers.values() for note in writer.notes] + list(refused.values())


class Bright:
    """Stands for a model: liver is what is bright."""

    def passes(self, scan: Scan) -> Iterator[np.ndarray]:
        yield from (scan.hu(rank)[None] / 255 for rank in range(scan.slices))


def body(points: np.ndarray) -> np.ndarray:
    """HU at points in mm (..., 3): an ellipsoid without any symmetry of the axes."""
    inside = (((points - [7, -4, 12]) / [11, 7, 9]) ** 2).sum(-1) < 1
    return np.where(inside | (np.abs(points - [14, 3, 16]).max(-1) < 3), 100, -100)


def nifti_points(path: Path) -> np.ndarray:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.ReadImage(str(path))
    assert image.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    marked = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1]
    return np.array([image.TransformIndexToPhysicalPoint([int(k) for k in index]) for index in marked])


def seg_points(path: Path) -> np.ndarray:
    """From the attributes of the standard alone (PS3.3 C.7.6.2.1.1)."""
    ds = pydicom.dcmread(path)
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    shared = ds.SharedFunctionalGroupsSequence[0]
    points = []
    for plane, groups in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
        rows, columns = np.nonzero(plane)
        points.append(
            position
            + columns[:, None] * orientation[:3] * between_columns
            + rows[:, None] * orientation[3:] * between_rows
        )
    return np.concatenate(points)


GEOMETRIES = [
    (signs, axes, angles)
    for signs, axes, angles in product(
        product((1, -1), repeat=3), ((2, 1, 0), (2, 0, 1), (0, 2, 1), (1, 2, 0)), ((0, 0, 0), (9, -14, 21))
    )
]


@pytest.mark.parametrize(("signs", "axes", "angles"), GEOMETRIES)
def test_masks_are_where_the_scan_is(
    write_series: Write, tmp_path: Path, signs: tuple[int, ...], axes: tuple[int, ...], angles: tuple[int, ...]
) -> None:
    """Rows, columns and slices flipped, axial, sagittal and coronal, oblique, with three different spacings."""
    pytest.importorskip("highdicom")
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    steps = (np.eye(3)[list(axes)] * np.array(signs)[:, None]) @ turn * np.array([2.5, 1.0, 0.7])[:, None]
    shape = (12, 34, 48)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    origin = np.array([7, -4, 12]) - (np.array(shape) / 2) @ steps
    points = origin + index @ steps
    hu = body(points)
    write_series(tmp_path / "in", hu, origin, steps)
    scan = opened(tmp_path / "in")
    mask = predict_scan(scan, Bright(), 0, largest_component=False, fill_holes=False).mask  # type: ignore[arg-type]
    assert write_masks(mask, scan, ["nifti", "dicom_seg"], tmp_path) == []
    expected = points[hu > 0]
    assert len(expected) > 100 and same_points(nifti_points(tmp_path / "liver.nii.gz"), expected)
    assert same_points(seg_points(tmp_path / "liver.dcm"), expected)
    voxel = abs(np.linalg.det(steps))
    assert scan.volume_ml(mask.pixels()) == pytest.approx(len(expected) * voxel / 1000)

    nib = pytest.importorskip("nibabel")  # NIfTI as input: the HU where the mask was put
    image = nib.load(tmp_path / "liver.nii.gz")
    source = nib.Nifti1Image(np.where(image.dataobj, 100, -100).astype(np.int16), None, image.header)
    source.set_data_dtype(np.int16)
    nib.save(source, tmp_path / "source.nii")
    again = opened(tmp_path / "source.nii")
    mask = predict_scan(again, Bright(), 0, largest_component=False, fill_holes=False).mask  # type: ignore[arg-type]
    (tmp_path / "again").mkdir()
    write_masks(mask, again, ["nifti"], tmp_path / "again")
    assert same_points(nifti_points(tmp_path / "again" / "liver.nii.gz"), expected)


def test_slices_after_a_gap_keep_their_places(write_series: Write, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    steps = np.array([[0, 0, -2.0], [0, 1.0, 0], [1.0, 0, 0]])
    paths = write_series(tmp_path / "in", np.full((8, 4, 5), 100), np.zeros(3), steps)
    for missing in (3, 4):
        paths[missing].unlink()
    scan = opened(tmp_path / "in")
    mask = predict_scan(scan, Bright(), 0, largest_component=False, fill_holes=False).mask  # type: ignore[arg-type]
    write_masks(mask, scan, ["nifti", "dicom_seg"], tmp_path)
    for points in (nifti_points(tmp_path / "liver.nii.gz"), seg_points(tmp_path / "liver.dcm")):
        assert sorted(set(points[:, 2].round(3))) == [-14, -12, -10, -4, -2, 0]


def test_a_segment_refers_to_its_source_and_is_coded(write_series: Write, tmp_path: Path) -> None:
    hd = pytest.importorskip("highdicom")
    steps = np.array([[0, 0, -2.0], [0, 1.0, 0], [1.0, 0, 0]])
    hu = np.full((4, 6, 5), -100)
    hu[1:3, 2:4, 1:3] = 50
    paths = write_series(tmp_path / "in", hu, np.zeros(3), steps)
    scan = opened(tmp_path / "in")
    write_masks(PackedMask(hu > 0), scan, ["dicom_seg", "png"], tmp_path)
    if shutil.which("dciodvfy"):  # of dicom3tools
        said = subprocess.run(["dciodvfy", str(tmp_path / "liver.dcm")], capture_output=True, text=True).stderr
        assert "Error" not in said, said
    seg = hd.seg.segread(tmp_path / "liver.dcm")
    source = pydicom.dcmread(paths[0])
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID) == (source.StudyInstanceUID, source.FrameOfReferenceUID)
    segment = seg.SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in scan.files]
    frames = seg.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=False, assert_missing_frames_are_empty=True
    )
    assert (frames[..., 0] == (hu > 0)).all()
    assert len(list((tmp_path / "png").iterdir())) == 4
    (tmp_path / "empty").mkdir()
    assert write_masks(PackedMask(hu > 500), scan, ["dicom_seg"], tmp_path / "empty") == []
    empty = hd.seg.segread(tmp_path / "empty" / "liver.dcm")
    assert not empty.pixel_array.any() and empty.NumberOfFrames == 4


def test_set_3_is_the_same_points_in_every_format(real_root: Path, tmp_path: Path) -> None:
    """The organisers' mask of a real scan, written and read back; expected from the attributes of its DICOM alone."""
    pytest.importorskip("highdicom")
    scan = opened(real_root, "3")
    masks = sorted((real_root / "Train_Sets" / "CT" / "3" / "Ground").iterdir())
    mask = PackedMask(read_mask(path)[1] > 0 for path in masks)
    expected = []
    for file, plane in zip(scan.files, mask, strict=True):
        ds = pydicom.dcmread(file, stop_before_pixels=True)
        position, (along_row, along_column) = (
            np.array(ds.ImagePositionPatient, float),
            np.reshape(ds.ImageOrientationPatient, (2, 3)),
        )
        rows, columns = np.nonzero(plane)
        between_rows, between_columns = map(float, ds.PixelSpacing)
        steps = columns[:, None] * along_row * between_columns + rows[:, None] * along_column * between_rows
        expected.append(position + steps.astype(float))
    write_masks(mask, scan, ["nifti", "dicom_seg", "png"], tmp_path)
    points = np.concatenate(expected)
    assert scan.volume_ml(mask.pixels()) == pytest.approx(1417.49, abs=0.01)
    assert same_points(seg_points(tmp_path / "liver.dcm"), points)
    assert same_points(nifti_points(tmp_path / "liver.nii.gz"), points)
    written = sorted((tmp_path / "png").iterdir())
    assert all((read_mask(path)[1] == plane).all() for path, plane in zip(written, mask, strict=True))


@pytest.mark.slow
def test_the_command_as_a_user_gives_it(
    finished: Path,
    finish: Callable[..., tuple[int, str, str]],
    phantom_root: Path,
    write_series: Write,
    tmp_path: Path,
) -> None:
    pytest.importorskip("highdicom")
    shutil.copytree(finished, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"

    def predict(*overrides: str) -> tuple[int, str]:
        code, out, err = finish(["predict", f"ckpt={checkpoint}", "device=cpu", *overrides], tmp_path)
        return code, out + err

    before = {path: path.stat().st_mtime_ns for path in phantom_root.rglob("*")}
    code, said = predict(f"input={phantom_root}", "output=out", "formats=[png,challenge,nifti,dicom_seg]")
    assert code == 0 and "4 of 4 scans in out" in said, said
    assert {path: path.stat().st_mtime_ns for path in phantom_root.rglob("*")} == before
    for name in ("img000.png", "img006.png"):  # the masks that evaluate scored
        ours, theirs = tmp_path / "out" / "4" / "Results" / name, tmp_path / "run" / "predictions" / "4" / name
        assert ours.read_bytes() == theirs.read_bytes()
    summary = json.loads((tmp_path / "out" / "4" / "summary.json").read_text())
    assert summary["slices"] == 7 and summary["volume_ml"] >= 0
    assert not any("unlike" in one or "unknown" in one or "spacing" in one for one in summary["warnings"])
    page = (tmp_path / "out" / "4" / "alarms.html").read_text()
    assert "SYNTHETIC" in page and all(alarm["reasons"] for alarm in summary["alarms"])
    code, said = predict(f"input={phantom_root}", "output=out", "formats=[png,challenge,nifti,dicom_seg]")
    assert code == 0 and said.count("done before") == 4
    code, said = predict(f"input={phantom_root}", "output=out", "threshold=50")
    assert code == 1 and "found those of another threshold, formats" in said and "Not predicted: 1, 2, 3, 4" in said
    (tmp_path / "taken" / "3").mkdir(parents=True)
    code, said = predict(f"input={phantom_root}", "output=taken", "series=3")
    assert code == 1 and "taken/3: expected a new folder, found something else there" in said

    write_series(tmp_path / "two" / "good", np.zeros((3, 32, 32), int), np.zeros(3), np.diag([1.0, 1.0, 1.0])[::-1])
    paths = write_series(
        tmp_path / "two" / "torn",
        np.zeros((3, 32, 32), int),
        np.zeros(3),
        np.diag([1.0, 1.0, 1.0])[::-1],
        PatientID="q",
    )
    paths[1].write_bytes(paths[1].read_bytes()[:-500])
    choices = ("postprocess=largest", "tta=rotate", "tta.scales=[0.9,1]", "formats=[nifti]", "batch_size=2")
    shutil.copy(checkpoint, checkpoint.with_name("fold1.ckpt"))
    code, said = predict("input=two", "output=two_out", f'ckpt="{checkpoint.parent}/*.ckpt"', *choices)
    models = json.loads((tmp_path / "two_out" / "good" / "summary.json").read_text())["made_of"]["models"]
    assert len(models) == 3  # best, fold1, last
    assert code == 1 and "Not predicted: torn" in said and "Traceback" not in said
    assert sorted(path.name for path in (tmp_path / "two_out").iterdir()) == [".lock", "good", "summary.json"]
    for overrides, sentence in (
        (("input=two", "output=two/out"), "expected a folder outside of the input"),
        (("input=nowhere", "output=x"), "input=nowhere: expected a folder or a file"),
        (("input=two", "output=x", "formats=[jpeg]"), "format.name=jpeg: expected one of"),
        (("input=two", "output=x", "ckpt=nothing.ckpt"), "nothing.ckpt: expected a checkpoint"),
    ):
        code, said = predict(*overrides)
        assert code == 1 and sentence in said and "Traceback" not in said


def test_slices_in_no_order_keep_their_places(write_series: Write, tmp_path: Path) -> None:
    """As in a CHAOS tree whose file names don't follow the positions."""
    pytest.importorskip("nibabel")
    steps = np.array([[0, 0, -2.0], [0, 1.0, 0], [1.0, 0, 0]])
    place = tmp_path / "tree" / "Train_Sets" / "CT" / "1" / "DICOM_anon"
    paths = write_series(place, np.full((6, 4, 5), 100), np.zeros(3), steps)
    for rank, number in zip(range(6), (2, 3, 4, 0, 1, 5), strict=True):
        paths[rank].rename(place / f"i{number}.dcm")
    scan = opened(tmp_path / "tree")
    assert not scan.in_order and scan.step_mm == 2
    assert scan.warnings == ("file names are not in the order of the slices: masks are numbered by file name",)
    write_masks(PackedMask(np.stack([plane > 0 for plane in map(scan.hu, range(6))])), scan, ["nifti"], tmp_path)
    points = nifti_points(tmp_path / "liver.nii.gz")
    assert sorted(set(points[:, 2].round(3))) == [-10, -8, -6, -4, -2, 0] and len(points) == 6 * 20
