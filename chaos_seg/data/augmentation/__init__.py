"""Augmentation as a pure function of the slice and of (seed, epoch, slice): the same with any number of workers.

A step is a callable `(image, mask, seed) -> (image, mask)`: float32 (size, size, channels) in [-1, 1] and uint8 (size,
size), and an integer from which it draws all that it draws. One with `in_hu = True` is given HU at the slice's own size
instead, before they are windowed and clipped. Left and right are never exchanged: the liver lies on one side.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chaos_seg.errors import UserError
from chaos_seg.registry import AUGMENTATIONS, build_all, complete_all

Step = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Augmentation:
    """Steps one after the other: `settings` has the options of each by its name, {"rotation": {"degrees": 5}}.

    Raises:
        UserError: as Slot.build().
    """

    def __init__(self, settings: Mapping[str, Mapping[str, Any] | None]):
        self.settings = complete_all(AUGMENTATIONS, settings)
        self.steps: list[Step] = build_all(AUGMENTATIONS, settings)

    def of_hu(self, hu: np.ndarray, mask: np.ndarray, entropy: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The steps on HU, (rows, columns, channels), in the way that `entropy` (integers >= 0) stands for."""
        return self._taken(hu, mask, entropy, in_hu=True)

    def __call__(self, image: np.ndarray, mask: np.ndarray, entropy: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The steps on the network's input, (size, size, channels)."""
        return self._taken(image, mask, entropy, in_hu=False)

    def _taken(
        self, image: np.ndarray, mask: np.ndarray, entropy: tuple[int, ...], in_hu: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.steps:
            seeds = np.random.SeedSequence(entropy).generate_state(len(self.steps))
            for step, seed in zip(self.steps, seeds.tolist(), strict=True):
                if getattr(step, "in_hu", False) == in_hu:
                    image, mask = step(image, mask, seed)
                    image = image.reshape(*mask.shape, -1)  # OpenCV drops a single channel
        return image, mask


class Drawn(ABC):
    """A step that is taken with probability `share`."""

    def __init__(self, share: float):
        if not 0 <= share <= 1:
            raise UserError(f"augmentation.share={share}: expected a share of the slices, from 0 to 1.")
        self.share = share

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        return self.taken(image, mask, rng) if rng.random() < self.share else (image, mask)

    @abstractmethod
    def taken(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What a step makes of a slice whose turn it is; it draws from `rng` alone."""
