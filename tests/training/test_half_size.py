from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.training.half_size import HalfSize
from chaos_seg.training.segmenter import Segmenter


def test_the_first_epochs_train_at_half_the_size_and_all_validate_at_the_whole(
    configure: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    step = Segmenter._step

    def watched(self: Segmenter, side: str, batch: dict) -> torch.Tensor:
        assert batch["image"].shape[2:] == batch["mask"].shape[2:]
        seen.append((side == "train", batch["image"].shape[2]))
        return step(self, side, batch)

    monkeypatch.setattr(Segmenter, "_step", watched)
    config = configure("epochs=2", "half_size_epochs=1")
    train(config, tmp_path / "run")
    trained = [size for in_training, size in seen if in_training]
    assert set(trained[: len(trained) // 2]) == {config.image_size // 2}
    assert {size for _, size in seen[len(seen) // 2 :]} == {config.image_size}
    assert {size for in_training, size in seen if not in_training} == {config.image_size}


def test_a_pixel_is_liver_when_more_than_half_of_its_area_is() -> None:
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0]])[None, None]
    batch = {"image": torch.arange(8.0).reshape(1, 1, 2, 4), "mask": mask}
    HalfSize(1).on_train_batch_start(type("Trainer", (), {"current_epoch": 0}), None, batch, 0)  # type: ignore[arg-type]
    assert batch["mask"].flatten().tolist() == [1, 0] and batch["image"].flatten().tolist() == [2.5, 4.5]


def test_half_a_size_that_the_network_can_not_take_is_refused(
    configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"half_size_epochs=1: expected half of image_size to be a multiple of 16"):
        train(configure("epochs=1", "half_size_epochs=1", "image_size=48", "network.depth=4"), tmp_path / "run")
