from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, open_volumes
from chaos_seg.training.segmenter import Segmenter


@pytest.fixture
def volumes(phantom_root: Path, tmp_path: Path) -> list[StoredScan]:
    return open_volumes(tmp_path / "store", list(find_patients(phantom_root).values())[:2])


class Given(Segmenter):
    """A model whose probabilities are given, at its own size, slice after slice as they are asked for."""

    def __init__(self, size: int, probabilities: Iterable[np.ndarray]):
        preprocessing = {"name": "window", "image_size": size, "level_hu": 40, "width_hu": 400}
        network = {"name": "unet", "base": 2, "depth": 1}
        super().__init__(network, {"name": "dice"}, preprocessing, {"name": "adam", "learning_rate": 1e-3})
        self.left = iter(probabilities)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        given = torch.from_numpy(np.stack([next(self.left) for _ in image])).float()
        return torch.logit(given.double()).float()[:, None] if given.max() < 1 else (given[:, None] - 0.5) * 1e3


@pytest.fixture
def given() -> type[Given]:
    return Given
