"""The network's input: from HU to an image, from a mask to its size, and from its probabilities back to the slice."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.registry import PREPROCESSINGS

cv2.setNumThreads(1)  # torch has the cores


class Preprocessing(Protocol):
    """What lies between a slice of CT and the network, both ways; made once, and kept in the checkpoint by name."""

    @property
    def image_size(self) -> int: ...

    def image(self, hu: np.ndarray) -> np.ndarray:
        """float32 (image_size, image_size) in [-1, 1] of int16 HU (rows, columns)."""

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """uint8 {0, 1} (image_size, image_size) of a mask (rows, columns)."""

    def back(self, probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """float32 of `shape` (rows, columns), the slice's own, of probabilities (image_size, image_size)."""

    def in_words(self) -> list[str]:
        """How to make the input without this package, a step each: for the metadata of an exported model."""

    def back_in_words(self) -> str:
        """How to bring probabilities to the slice's own size."""


@PREPROCESSINGS.register("window")
@dataclass(frozen=True)
class Window:
    """A window of HU scaled to [-1, 1] and clipped, resized to a square; level 0 and width 2800 is the study's."""

    image_size: int
    level_hu: float
    width_hu: float

    def __post_init__(self) -> None:
        for key in ("image_size", "width_hu"):
            if not getattr(self, key) > 0:
                raise UserError(f"preprocessing.{key}={getattr(self, key)}: expected a number above 0.")

    def image(self, hu: np.ndarray) -> np.ndarray:
        return resize_image(window(hu, self.level_hu, self.width_hu), (self.image_size, self.image_size))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        return resize_mask(mask, (self.image_size, self.image_size))

    def back(self, probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        return resize_image(probability, shape)

    def in_words(self) -> list[str]:
        size = self.image_size
        return [
            f"x = clip((HU - level_hu) / (width_hu / 2), -1, 1) = clip((HU - {self.level_hu}) / "
            f"{self.width_hu / 2}, -1, 1), float32.",
            f"Resize x to {size} x {size}: one of this size stays as it is, one of more than {size} rows is averaged "
            "over areas (OpenCV's INTER_AREA), any other interpolated bilinearly (INTER_LINEAR: pixel centres at 0.5, "
            "border repeated, no antialiasing).",
        ]

    def back_in_words(self) -> str:
        size = self.image_size
        return (
            "Resize probability[n, 0] to the rows and columns of the slice by the same rule: as it is when the slice "
            f"is {size} x {size}, averaged over areas when it has fewer than {size} rows, else bilinear."
        )


def of_scan(preprocessing: Preprocessing, scan: Scan | None) -> Preprocessing:
    """The one for a scan, where a preprocessing looks at all of it: then it has a method `of`."""
    if scan is None or not hasattr(preprocessing, "of"):
        return preprocessing
    by_scan: Preprocessing = preprocessing.of(scan)
    return by_scan


def window(hu: np.ndarray, level_hu: float, width_hu: float) -> np.ndarray:
    """Scale HU linearly so that the window [level - width/2, level + width/2] becomes [-1, 1], clipped; float32.

    Level 0 and width 2800 is the reference study's division by 1400.
    """
    scaled = (hu.astype(np.float32) - level_hu) / (width_hu / 2)
    return np.clip(scaled, -1.0, 1.0)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a float32 image to `size` (rows, columns): area average when shrinking, else bilinear."""
    if image.shape == size:
        return image
    shrinks = size[0] < image.shape[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a {0, 1} mask to `size` (rows, columns): a pixel is liver when more than half of its area is.

    Where it is just half, frequent when a size is halved, every other pixel is: to count all of these as liver makes
    SET 3's liver 0.8 % larger, and nearest neighbour shifts the mask against the image by half a pixel.
    """
    if mask.shape == size:
        return mask
    area = resize_image(mask.astype(np.float32), size)
    every_other = np.indices(size).sum(axis=0) % 2
    return np.where(area == 0.5, every_other, area > 0.5).astype(np.uint8)
