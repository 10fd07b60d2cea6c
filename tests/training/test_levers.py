import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.data.preprocessing import resize_mask
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.files import read_csv
from chaos_seg.training.levers import HalfSize
from chaos_seg.training.segmenter import Segmenter, smaller_mask


@pytest.mark.parametrize("given", ["1", "0.6", "0.9"])
def test_the_first_epochs_train_at_half_the_size_and_all_validate_at_the_whole(
    configure: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    seen: list[tuple[bool, int]] = []
    step = Segmenter._step

    def watched(self: Segmenter, side: str, batch: dict) -> torch.Tensor:
        assert batch["image"].shape[2:] == batch["mask"].shape[2:]
        seen.append((side == "train", batch["image"].shape[2]))
        return step(self, side, batch)

    monkeypatch.setattr(Segmenter, "_step", watched)
    config = configure("epochs=2", f"half_size_epochs={given}")
    train(config, tmp_path / "run")
    trained = [size for in_training, size in seen if in_training]
    assert set(trained[: len(trained) // 2]) == {config.image_size // 2}
    assert {size for _, size in seen[len(seen) // 2 :]} == {config.image_size}
    assert {size for in_training, size in seen if not in_training} == {config.image_size}


def test_smaller_masks_are_those_of_any_other_resize() -> None:
    rows, columns = np.indices((64, 64))
    for place in range(8):  # of an edge that halves many pixels
        mask = ((rows + place) // 9 + columns // 7) % 2 > 0
        mask[:, place : place + 3] = False
        for side in (32, 16):
            smaller = smaller_mask(torch.from_numpy(mask).float()[None, None], side)
            assert np.array_equal(smaller[0, 0].numpy(), resize_mask(mask.astype(np.uint8), (side, side)))


def test_half_the_size_is_that_of_image_and_mask() -> None:
    mask = torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0]])[None, None]
    batch = {"image": torch.arange(8.0).reshape(1, 1, 2, 4), "mask": mask}
    HalfSize(1).on_train_batch_start(type("Trainer", (), {"current_epoch": 0}), None, batch, 0)  # type: ignore[arg-type]
    assert batch["mask"].flatten().tolist() == [1, 0] and batch["image"].flatten().tolist() == [2.5, 4.5]


def test_half_a_size_that_the_network_can_not_take_is_refused(
    configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"half_size_epochs=1: expected half of image_size to be a multiple of 16"):
        train(configure("epochs=2", "half_size_epochs=1", "image_size=48", "network.depth=4"), tmp_path / "run")


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


def test_a_compiled_network_learns_the_same(
    configure: Callable[..., TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By a compiler that leaves every operation as it is: what stands around it changes no weight and no name."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled(self, backend="eager", **how))
    weights = []
    with caplog.at_level("INFO"):
        for name, how in (("eager", "compile=false"), ("compiled", "compile=true")):
            train(configure("epochs=2", how), tmp_path / name)
            last = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
            weights.append(last["state_dict"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert "ms a slice in place of" in caplog.text


def test_without_a_compiler_it_is_said_and_trained(
    configure: Callable[..., TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    monkeypatch.setattr("torch._inductor.config.fx_graph_cache", False)
    with caplog.at_level("WARNING"):
        train(configure("epochs=1", "compile=true"), tmp_path / "run")
    assert "torch.compile does not work here (" in caplog.text and "the run goes on without it" in caplog.text
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["compile"] in caplog.text


def test_mixed_precision_on_a_cpu_learns_nearly_the_same(configure: Callable[..., TrainConfig], tmp_path: Path) -> None:
    runs = []
    for precision in ("32-true", "bf16-mixed"):
        train(configure("epochs=2", f"trainer.precision={precision}"), tmp_path / precision)
        last = torch.load(tmp_path / precision / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["state_dict"]["net.head.weight"].dtype == torch.float32
        runs.append(float(read_csv(tmp_path / precision / "metrics.csv")[-1]["val/loss"]))
    assert runs[0] != runs[1] == pytest.approx(runs[0], rel=0.02)


def test_the_best_may_be_the_last(configure: Callable[..., TrainConfig], tmp_path: Path) -> None:
    train(configure("epochs=3", "best_by=last", "learning_rate=1e-30"), tmp_path / "run")  # no epoch is better
    best, last = (
        torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    )
    assert best["epoch"] == last["epoch"] == 2
    assert all(torch.equal(best["state_dict"][key], last["state_dict"][key]) for key in last["state_dict"])
