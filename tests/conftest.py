"""What the tests share: a small phantom, copies of it to damage, and configurations made as the program makes them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from chaos_seg.config import CONF_DIR, TrainConfig, checked
from chaos_seg.data.phantom import Phantom, write_phantom

SMALL = Phantom(patients=4, slices=7, size=32, seed=3)


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patients 1 to 4, 7 slices of 32 x 32 each; not to be changed."""
    return write_phantom(tmp_path_factory.mktemp("phantom"), SMALL)


@pytest.fixture
def tree(phantom_root: Path, tmp_path: Path) -> Path:
    """A copy of the phantom that a test may damage."""
    return Path(shutil.copytree(phantom_root, tmp_path / "tree"))


@pytest.fixture
def configure(phantom_root: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Compose conf/train.yaml with overrides, on the small phantom, as a run of seconds."""
    small = [
        "image_size=32",
        "model.base=4",
        "model.depth=2",
        "batch_size=4",
        "learning_rate=1e-2",
        "epochs=2",
        "num_workers=0",
        "trainer=cpu",
        f"data.root={phantom_root}",
        f"data.store={tmp_path / 'store'}",
        "data.split.train=[1,2]",
        "data.split.val=[3]",
        "data.split.test=[4]",
    ]

    def make(*overrides: str) -> TrainConfig:
        lists = [o for o in small if not (o.startswith("data.split.") and "data/split=kfold" in overrides)]
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return checked(TrainConfig, compose("train", overrides=[*lists, *overrides]))

    return make


@pytest.fixture(scope="session")
def real_root() -> Path:
    root = os.environ.get("CHAOS_REAL_ROOT")
    if root is None:
        pytest.skip("needs real CT: set CHAOS_REAL_ROOT to a CHAOS tree with patient 3")
    return Path(root)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # small arrays: more threads only wait for each other
