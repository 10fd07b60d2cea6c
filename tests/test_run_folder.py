import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

from chaos_seg.config import TrainConfig
from chaos_seg.errors import UserError
from chaos_seg.experiment import completed, train
from chaos_seg.files import write_json
from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import complete_settings, flat

BEFORE = """
name: paper
seed: 0
image_size: 512
batch_size: 8
learning_rate: 1.0e-05
epochs: 400
threshold: 100.0
num_workers: null
overlay_every_epochs: 10
ckpt_path: null
data:
  root: /data/CHAOS
  store: /data/store
  phantom: null
  audit: true
  split: {method: kfold, train: null, val: null, test: null, val_patients: null, test_patients: null, folds: 5, fold: 2,
    seed: 0}
transform: {level_hu: 40.0, width_hu: 400.0, rotation_deg: 5.0}
model: {base: 8, depth: 4, dropout: 0.2}
trainer: {accelerator: auto, devices: 1, strategy: auto, precision: 32-true, deterministic: warn,
  limit_train_batches: 1.0}
loss: {name: dice, smooth: 1.0}
"""


def test_settings_of_a_run_made_before_there_were_slots_have_their_present_names(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(BEFORE)
    settings = complete_settings(RunFolder(tmp_path).settings())
    assert settings["data"] == {
        "root": "/data/CHAOS",
        "store": "/data/store",
        "audit": True,
        "source": {"name": "chaos"},
        "split": {"name": "kfold", "folds": 5, "fold": 2, "seed": 0},
    }
    window = {"level_hu": 40.0, "width_hu": 400.0, "neighbours": 0, "distance_mm": 5.0, "crop": False}
    assert settings["preprocessing"] == {"name": "window", **window}  # and what came later at its default
    assert (
        settings["augmentation"] == {"rotation": {"degrees": 5.0}}
        and settings["loss"] == yaml.safe_load(BEFORE)["loss"]
    )
    unet = {"base": 8, "depth": 4, "dropout": 0.2, "dropout_at": "bottom"}
    assert settings["network"] == {"name": "unet", **unet}
    assert (settings["optimizer"], settings["scheduler"]) == ({"name": "adam"}, {"name": "constant"})
    turned = BEFORE.replace("rotation_deg: 5.0", "rotation_deg: 0.0")
    turned = turned.replace("phantom: null", "phantom: {patients: 4, slices: 7, size: 32, seed: 3}")
    (tmp_path / "config.yaml").write_text(turned)
    settings = RunFolder(tmp_path).settings()
    assert settings["augmentation"] == {}
    assert settings["data"]["source"] == {"name": "phantom", "patients": 4, "slices": 7, "size": 32, "seed": 3}


Configure = Callable[..., TrainConfig]


def test_a_used_folder_is_refused(configure: Configure, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.ckpt")}
    with pytest.raises(UserError, match=r"expected a new folder, found a run in it; resume it with ckpt_path="):
        train(configure(), finished)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*.ckpt")}


@pytest.mark.parametrize(
    ("saved", "asked", "refused"),
    [
        (("loss=dice", "loss.smooth=5.0"), ("loss=dice", "~loss.smooth"), "loss.smooth=5.0, this command asks for 1.0"),
        (("loss=dice", "~loss.smooth"), ("loss=dice", "loss.smooth=5"), "loss.smooth=1.0, this command asks for 5.0"),
        (("loss=dice", "+loss.extra=1"), ("loss=dice",), "loss dice: got an unexpected keyword argument 'extra'"),
        (("loss=dice", "~loss.smooth"), ("loss=dice",), None),
        (("loss=dice",), ("loss=bce", "loss.name=dice"), None),
        (("loss=dice", "loss.smooth=2"), ("loss=dice", "loss.smooth=2.0"), None),
        (
            (
                "data.source.name=phantom",
                *(f"+data.source.{v}" for v in ("patients=4", "slices=7", "size=32", "seed=3")),
            ),
            (),
            "data.source.name=phantom, this command asks for chaos",
        ),
    ],
)
def test_experiments_are_compared_as_built_not_as_spelled(
    configure: Configure, tmp_path: Path, saved: tuple[str, ...], asked: tuple[str, ...], refused: str | None
) -> None:
    write_json(tmp_path / "manifest.json", {"data": {"fingerprint": "same"}})
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(asdict(configure(*saved))))
    run, settings = RunFolder(tmp_path), flat(asdict(completed(configure(*asked))))
    if refused is None:
        run.expect_same(settings, "same")
    else:
        with pytest.raises(UserError, match=refused):
            run.expect_same(settings, "same")


def test_other_data_does_not_resume(configure: Configure, finished: Path, tree: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    mask = tree / "Train_Sets" / "CT" / "1" / "Ground" / "liver_GT_003.png"
    pixels = np.array(Image.open(mask))
    pixels[tuple(np.argwhere(pixels)[0])] = False
    Image.fromarray(pixels).save(mask)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=r"expected the data that the run began with \(fingerprint \w+\), found other"):
        train(configure("loss=dice", f"data.root={tree}", f"ckpt_path={last}"), tmp_path / "run")
