"""Lightning's trainer, with the options of a run."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.experiment import train
from chaos_seg.training.segmenter import Segmenter
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


def test_the_average_of_the_weights_is_kept_in_their_place(
    configure: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[torch.Tensor] = []
    end = Segmenter.on_train_batch_start

    def watched(self: Segmenter, batch: Any, index: int) -> None:
        steps.append(self.net.head.weight.detach().clone())  # before each step: after all but the last
        end(self, batch, index)

    monkeypatch.setattr(Segmenter, "on_train_batch_start", watched)
    train(configure("epochs=2", "ema_decay=0.75"), tmp_path / "run")
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    live, kept = (checkpoint[key]["net.head.weight"] for key in ("current_model_state", "state_dict"))
    average = steps[1]  # begins as the weights after the first step
    for weight in [*steps[2:], live]:
        average = 0.75 * average + 0.25 * weight
    assert torch.allclose(kept, average, atol=1e-6) and not torch.allclose(kept, live, atol=1e-4)
