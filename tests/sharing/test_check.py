"""The proof of a shared model."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from chaos_seg import predict as predict_door
from chaos_seg.errors import UserError
from chaos_seg.sharing.check import prove
from chaos_seg.training.shared import write_sums


def test_the_command_proves_folder_and_zip(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (shared, shared.with_name("liver.zip")):
        monkeypatch.setattr(sys, "argv", ["predict", f"ckpt={place}", "check=true", "device=cpu"])
        predict_door.main()
        liver = int((np.asarray(Image.open(shared / "check" / "mask.png")) > 0).sum())
        said = f"{place}: 13 files as they were handed on; 65536 of 65536 pixels of the synthetic slice as expected"
        assert f"{said}, {liver} of them liver" in capsys.readouterr().out and liver > 1000


def test_onnxruntime_gives_the_mask_by_what_the_model_says_of_itself(shared: Path) -> None:
    import onnxruntime

    runtime = onnxruntime.InferenceSession(shared / "model.onnx", providers=["CPUExecutionProvider"])
    said = runtime.get_modelmeta().custom_metadata_map
    file = pydicom.dcmread(shared / "check" / "slice.dcm")
    assert file.SyntheticData == "YES"
    hu = np.clip(np.rint(float(file.RescaleSlope) * file.pixel_array + float(file.RescaleIntercept)), -2048, 3071)
    x = np.clip((hu - float(said["level_hu"])) / (float(said["width_hu"]) / 2), -1, 1).astype(np.float32)
    size = int(said["image_size"])
    (probability,) = runtime.run(None, {"image": cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA)[None, None]})
    mask = 255 * cv2.resize(probability[0, 0], hu.shape[::-1]) > float(said["threshold"])
    assert (mask != (np.asarray(Image.open(shared / "check" / "mask.png")) > 0)).sum() <= 6


def test_a_model_that_gives_another_mask_is_refused(shared: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shared, tmp_path / "liver"))
    config = json.loads((copy / "config.json").read_text())
    config["hyper_parameters"]["preprocessing"]["level_hu"] += 30  # as another window here would
    (copy / "config.json").write_text(json.dumps(config))
    write_sums(copy)
    with pytest.raises(UserError, match=r"the mask of check/mask.png, found another: \d+ of 65536 pixels differ"):
        prove(copy, torch.device("cpu"))


def test_a_plain_checkpoint_has_no_proof(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = shared.parent / "run" / "checkpoints" / "best.ckpt"
    monkeypatch.setattr(sys, "argv", ["predict", f"ckpt={checkpoint}", "check=true"])
    with pytest.raises(SystemExit, match=r"best.ckpt: expected a folder of chaos_seg.share or its zip to check"):
        predict_door.main()
    monkeypatch.setattr(sys, "argv", ["predict", f"ckpt={shared}"])
    with pytest.raises(SystemExit, match=r"input=None: expected a path, or check=true"):
        predict_door.main()
