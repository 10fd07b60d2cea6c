"""ONNX: the masks of torch, from a file that says by itself how to use it."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.store import open_patients
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.inference import onnx as module
from chaos_seg.inference.choices import chosen_device
from chaos_seg.inference.onnx import export, metadata, session
from chaos_seg.inference.prediction import predict_scan
from chaos_seg.inference.predictor import Predictor
from chaos_seg.training.checkpoints import load_model
from chaos_seg.training.segmenter import Segmenter

PATIENTS = ("1", "2", "3", "4")


@pytest.fixture
def onnx() -> Any:
    pytest.importorskip("onnxruntime")
    return pytest.importorskip("onnx")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of a network that was never trained, alone in its folder."""
    segmenter = Segmenter(
        {"name": "unet", "base": 4, "depth": 2},
        {"name": "dice"},
        {"name": "window", "image_size": 16, "level_hu": 40.0, "width_hu": 400.0},
        {"name": "adam", "learning_rate": 1e-3},
        threshold=127.5,
    )
    path = tmp_path / "run" / "best.ckpt"
    path.parent.mkdir()
    content = {"hyper_parameters": dict(segmenter.hparams), "state_dict": segmenter.state_dict(), "epoch": 6}
    torch.save(content, path)
    return path


def masks_by_metadata_alone(model: Path, root: Path) -> dict[str, np.ndarray]:
    """Each patient's mask, from the DICOM files and what the model says of itself, with none of our code."""
    import onnx
    import onnxruntime

    said = {item.key: item.value for item in onnx.load(model).metadata_props}
    size, level, width = int(said["image_size"]), float(said["level_hu"]), float(said["width_hu"])
    runtime = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def resized(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
        if picture.shape == (rows, columns):
            return picture
        rule = cv2.INTER_AREA if rows < picture.shape[0] else cv2.INTER_LINEAR
        return cv2.resize(picture, (columns, rows), interpolation=rule)

    masks = {}
    for patient in PATIENTS:
        images, shapes = [], []
        for path in sorted((root / "Train_Sets" / "CT" / patient / "DICOM_anon").iterdir()):
            file = pydicom.dcmread(path)
            hu = float(file.RescaleSlope) * file.pixel_array + float(file.RescaleIntercept)
            hu = np.clip(np.rint(hu), -2048, 3071)
            x = np.clip((hu - level) / (width / 2), -1, 1).astype(np.float32)
            images.append(resized(x, size, size)[None])
            shapes.append(hu.shape)
        (probability,) = runtime.run(["probability"], {"image": np.stack(images)})
        masks[patient] = np.stack(
            [
                255 * resized(p[0], *shape) > float(said["threshold"])
                for p, shape in zip(probability, shapes, strict=True)
            ]
        )
    return masks


@pytest.mark.parametrize("size", [12, 80])  # slices have 32: both rules, both ways
def test_masks_are_those_of_torch(
    onnx: Any, size: int, configure: Callable[..., TrainConfig], phantom_root: Path, tmp_path: Path
) -> None:
    config = configure("epochs=10", f"image_size={size}", "threshold=90", "preprocessing=soft_tissue")
    train(config, tmp_path / "run")
    checkpoint, model = tmp_path / "run" / "checkpoints" / "best.ckpt", tmp_path / "model.onnx"
    export(checkpoint, model)
    predictor = Predictor([load_model(checkpoint)[0]], chosen_device("cpu"))
    found = masks_by_metadata_alone(model, phantom_root)
    different = pixels = liver = 0
    for volume in open_patients(Path(config.data.store), chaos(phantom_root), PATIENTS):
        expected = np.stack(predict_scan(volume, predictor, 90, largest_component=False, fill_holes=False).mask)
        different += np.count_nonzero(found[volume.name] != expected)
        pixels += expected.size
        liver += np.count_nonzero(expected)
    assert pixels == 4 * 7 * 32 * 32 and 0.05 < liver / pixels < 0.9
    assert different <= pixels / 100_000


def test_any_number_of_slices_at_once(onnx: Any, checkpoint: Path, tmp_path: Path) -> None:
    """A slice's probability is its own, whatever lies beside it."""
    export(checkpoint, tmp_path / "model.onnx")
    runtime = session(tmp_path / "model.onnx")
    (given,), (made,) = runtime.get_inputs(), runtime.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(float)", ["N", 1, 16, 16])
    assert (made.name, made.type, made.shape) == ("probability", "tensor(float)", ["N", 1, 16, 16])
    images = np.random.default_rng(0).uniform(-1, 1, (11, 1, 16, 16)).astype(np.float32)
    (whole,) = runtime.run(None, {"image": images})
    with torch.inference_mode():
        expected = load_model(checkpoint)[0](torch.from_numpy(images)).sigmoid().numpy()
    assert np.abs(whole - expected).max() < 1e-5 and np.ptp(expected) > 0.1
    for count in (1, 4):
        (part,) = runtime.run(None, {"image": images[:count]})
        assert part.shape == (count, 1, 16, 16) and np.abs(part - whole[:count]).max() < 1e-5


def test_the_file_says_how_to_use_it(onnx: Any, checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    said = {item.key: item.value for item in model.metadata_props}
    assert said == metadata(*load_model(checkpoint))
    numbers = {key: said[key] for key in ("image_size", "level_hu", "width_hu", "threshold", "loss", "warning")}
    assert numbers == {
        "image_size": "16",
        "level_hu": "40.0",
        "width_hu": "400.0",
        "threshold": "127.5",
        "loss": "dice, smooth=1.0",
        "warning": "Not a medical device.",
    }
    assert said["epoch"].startswith("6 ") and "float32 (N, 1, 16, 16), values -1 to 1" in said["input"]
    assert "clip((HU - 40.0) / 200.0, -1, 1)" in said["preprocessing"] and "RescaleIntercept" in said["preprocessing"]
    assert "averaged over areas when it has fewer than 16 rows" in said["postprocessing"]
    assert "255 * probability > threshold = 127.5" in said["postprocessing"]
    content = (tmp_path / "model.onnx").read_bytes()
    export(checkpoint, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == content
    assert str(Path(module.__file__).parent).encode() not in content  # no paths of this machine


def test_other_masks_than_torchs_are_not_written(
    onnx: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = session

    def shifted(model: bytes | Path) -> Any:
        run = right(model).run
        return SimpleNamespace(run=lambda *given: [np.roll(found, 1, -1) for found in run(*given)])

    def undefined(model: bytes | Path) -> Any:
        run = right(model).run
        return SimpleNamespace(run=lambda *given: [found * np.nan for found in run(*given)])

    for wrong in (shifted, undefined):
        monkeypatch.setattr(module, "session", wrong)
        with pytest.raises(RuntimeError, match=r"expected the masks of torch .* nothing written"):
            export(checkpoint, checkpoint.with_suffix(".onnx"))
        assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_what_a_user_can_mend(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    with pytest.raises(UserError, match=r"none.ckpt: expected a checkpoint, found no such file; name one of"):
        export(tmp_path / "none.ckpt", output)
    (tmp_path / "junk.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"junk.ckpt: expected a checkpoint of chaos_seg, found something else"):
        export(tmp_path / "junk.ckpt", output)
    torch.save({"hyper_parameters": {"layers": 3}, "state_dict": {}, "epoch": 0}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"other.ckpt: .*found one of another program"):
        export(tmp_path / "other.ckpt", output)
    content = checkpoint.read_bytes()
    (tmp_path / "folder.onnx").mkdir()
    for place in (checkpoint, tmp_path / "run", tmp_path / "folder.onnx", checkpoint / "x.onnx"):
        with pytest.raises(UserError, match=r"expected a new file that ends in .onnx"):
            export(checkpoint, place)
    assert checkpoint.read_bytes() == content
    monkeypatch.setitem(sys.modules, "onnx", None)  # as when it is not installed
    with pytest.raises(UserError, match=r"expected the packages onnx and onnxruntime.*pip install -e '.\[onnx\]'"):
        export(checkpoint, output)
    assert not output.exists() and not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("network", [{"name": "resunet", "base": 2, "depth": 2}, {"name": "efficientnet", "base": 2}])
def test_several_slices_as_channels_and_a_crop_are_exported(network: dict[str, Any], onnx: Any, tmp_path: Path) -> None:
    segmenter = Segmenter(
        network,
        {"name": "dice_bce"},
        {"name": "window", "image_size": 32, "level_hu": 40.0, "width_hu": 400.0, "neighbours": 1, "crop": True},
        {"name": "adamw", "learning_rate": 1e-3},
    )
    content = {"hyper_parameters": dict(segmenter.hparams), "state_dict": segmenter.state_dict(), "epoch": 0}
    torch.save(content, tmp_path / "a.ckpt")
    export(tmp_path / "a.ckpt", tmp_path / "a.onnx")
    images = np.random.default_rng(0).uniform(-1, 1, (3, 3, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = segmenter.eval()(torch.from_numpy(images)).sigmoid().numpy()
    (given,) = session(tmp_path / "a.onnx").run(["probability"], {"image": images})
    assert given.shape == (3, 1, 32, 32) and np.abs(given - expected).max() < 1e-4
    said = metadata(segmenter, 0)
    assert "3 slices: x[..., c] is the one nearest to (c - 1) * 5.0 mm" in said["preprocessing"]
    assert "keep that square" in said["preprocessing"] and "no liver elsewhere" in said["postprocessing"]
