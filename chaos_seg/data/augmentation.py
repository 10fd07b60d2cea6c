"""Augmentation as a pure function of the slice and of (seed, epoch, slice): the same with any number of workers.

A step is a callable `(image, mask, seed) -> (image, mask)`: float32 and uint8 arrays (size, size), and an integer from
which it draws all that it draws. The only module that imports albumentations.
"""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for its version

from collections.abc import Callable, Mapping
from typing import Any

import albumentations as A
import cv2
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

    def __call__(self, image: np.ndarray, mask: np.ndarray, entropy: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Augment `image` and `mask` (rows, columns) in the way that `entropy` (integers >= 0) stands for."""
        if self.steps:
            seeds = np.random.SeedSequence(entropy).generate_state(len(self.steps))
            for step, seed in zip(self.steps, seeds.tolist(), strict=True):
                image, mask = step(image, mask, seed)
        return image, mask


@AUGMENTATIONS.register("rotation")
class Rotation:
    """Rotation by an angle uniform in +-`degrees`, about the centre: image bilinear, mask nearest, border repeated."""

    def __init__(self, degrees: float):
        if not degrees >= 0:
            raise UserError(f"augmentation.rotation.degrees={degrees}: expected degrees from 0.")
        self._compose = A.Compose(
            [
                A.Rotate(
                    limit=(-degrees, degrees),
                    interpolation=cv2.INTER_LINEAR,
                    mask_interpolation=cv2.INTER_NEAREST,
                    border_mode=cv2.BORDER_REPLICATE,
                    p=1.0,
                )
            ],
            strict=True,
        )

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        self._compose.set_random_seed(seed)  # its own random state repeats across workers and epochs
        turned = self._compose(image=image, mask=mask)
        return turned["image"], turned["mask"]
