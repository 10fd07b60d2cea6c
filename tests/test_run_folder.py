from pathlib import Path

import yaml

from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import complete_settings

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
    settings = RunFolder(tmp_path).settings()
    assert complete_settings(settings) == settings
    assert settings["data"] == {
        "root": "/data/CHAOS",
        "store": "/data/store",
        "audit": True,
        "source": {"name": "chaos"},
        "split": {"name": "kfold", "folds": 5, "fold": 2, "seed": 0},
    }
    assert settings["preprocessing"] == {"name": "window", "level_hu": 40.0, "width_hu": 400.0}
    assert (
        settings["augmentation"] == {"rotation": {"degrees": 5.0}}
        and settings["loss"] == yaml.safe_load(BEFORE)["loss"]
    )
    assert settings["network"] == {"name": "unet", "base": 8, "depth": 4, "dropout": 0.2}
    assert (settings["optimizer"], settings["scheduler"]) == ({"name": "adam"}, {"name": "constant"})
    turned = BEFORE.replace("rotation_deg: 5.0", "rotation_deg: 0.0")
    turned = turned.replace("phantom: null", "phantom: {patients: 4, slices: 7, size: 32, seed: 3}")
    (tmp_path / "config.yaml").write_text(turned)
    settings = RunFolder(tmp_path).settings()
    assert settings["augmentation"] == {}
    assert settings["data"]["source"] == {"name": "phantom", "patients": 4, "slices": 7, "size": 32, "seed": 3}
