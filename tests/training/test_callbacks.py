from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, open_volumes
from chaos_seg.training import callbacks
from chaos_seg.training.callbacks import ValidationOverlays
from chaos_seg.training.segmenter import Segmenter


class LeftHalf(Segmenter):
    """Its logits are just above the threshold's in the left half."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = torch.full_like(image, self.logit_threshold - 0.1)
        logits[..., : image.shape[-1] // 2] += 0.2
        return logits


class Pictures(TensorBoardLogger):
    """Keeps the names and epochs of pictures."""

    def __init__(self) -> None:
        super().__init__("unused")
        self.added: list[tuple[str, int]] = []

    @property
    def experiment(self) -> Any:
        return SimpleNamespace(add_image=lambda tag, picture, epoch, dataformats: self.added.append((tag, epoch)))


Draw = Callable[..., list[tuple[str, int]]]


@pytest.fixture
def volumes(phantom_root: Path, tmp_path: Path) -> list[StoredScan]:
    return open_volumes(tmp_path, find_patients(phantom_root).values())


@pytest.fixture
def draw(volumes: list[StoredScan]) -> Draw:
    module = LeftHalf(
        {"name": "unet", "base": 2, "depth": 1},
        {"name": "dice"},
        {"name": "window", "image_size": 32, "level_hu": 40, "width_hu": 400},
        {"name": "adam", "learning_rate": 1e-3},
    )
    dataset = SliceDataset([*volumes, *volumes], module.preprocessing)

    def drawn(every: int, epochs: int, function: TrainerFn = TrainerFn.FITTING) -> list[tuple[str, int]]:
        pictures = Pictures()
        for epoch in range(epochs):
            trainer: Any = SimpleNamespace(
                current_epoch=epoch,
                max_epochs=epochs,
                state=SimpleNamespace(fn=function),
                loggers=[pictures],
                val_dataloaders=SimpleNamespace(dataset=dataset),
            )
            ValidationOverlays(every).on_validation_epoch_end(trainer, module)
        return pictures.added

    return drawn


def test_validation_is_drawn_every_so_many_epochs_and_in_the_last(draw: Draw) -> None:
    added = draw(every=2, epochs=4)
    assert [epoch for _, epoch in added] == [epoch for epoch in (0, 2, 3) for _ in range(4)]
    assert {tag for tag, _ in added} == {f"validation (synthetic)/patient {patient}" for patient in "1234"}
    assert draw(every=1, epochs=1, function=TrainerFn.VALIDATING) == []


def test_the_slice_with_most_liver_is_drawn_in_hu_with_both_masks(
    draw: Draw, volumes: list[StoredScan], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[tuple[np.ndarray, ...]] = []
    monkeypatch.setattr(callbacks, "slice_picture", lambda _, *arrays: pictures.append(arrays))
    draw(every=1, epochs=1)
    assert len(pictures) == 4  # of eight patients
    for volume, (hu, true, predicted) in zip(volumes, pictures, strict=True):
        rank = int(np.argmax(volume.meta.liver_pixels or []))
        assert np.array_equal(hu, volume.hu(rank))
        assert np.array_equal(true, volume.mask(rank) > 0)
        assert predicted[:, :16].all() and not predicted[:, 16:].any()
