"""Lightning's trainer, with the options of a run."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest

from chaos_seg.config import TrainConfig
from chaos_seg.training.trainer import first_device

Configure = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("devices", "scored_on"), [("[3]", [3]), ("[3,1]", [3]), ("'3,'", [3]), ("'2,3'", [2]), ("2", 1), ("auto", 1)]
)
def test_scoring_keeps_the_device_that_trained(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str, scored_on: object
) -> None:
    asked: dict[str, object] = {}

    class Trainer:
        strategy = SimpleNamespace(root_device="the first")

        def __init__(self, **options: object):
            asked.update(options)

    monkeypatch.setattr(L, "Trainer", Trainer)
    config = configure("trainer=gpu", "trainer.strategy=ddp", f"trainer.devices={devices}")
    assert first_device(asdict(config.trainer), tmp_path) == "the first"
    assert (asked["devices"], asked["strategy"], asked["accelerator"]) == (scored_on, "auto", "gpu")
