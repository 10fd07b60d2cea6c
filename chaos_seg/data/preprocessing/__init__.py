"""The network's input: from HU to an image, from a mask to its size, and from its probabilities back to the slice."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np

from chaos_seg.data.preprocessing.crop import CROP_IN_WORDS, body_square
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.registry import PREPROCESSINGS

cv2.setNumThreads(1)  # torch has the cores
MAX_CHANNELS = 4  # that OpenCV averages over areas
TIE_MM = 1e-3


class Preprocessing(ABC):
    """What lies between a slice of CT and the network, both ways; made once, and kept in the checkpoint by name.

    Channels are last in NumPy, as in OpenCV; one is the slice itself, more are its neighbours beside it.
    """

    image_size: int
    channels = 1

    def hu(self, scan: Scan, rank: int) -> np.ndarray:
        """What the image of slice `rank` is made of: HU (rows, columns, channels)."""
        return scan.hu(rank)[..., None]

    @abstractmethod
    def image(self, hu: np.ndarray) -> np.ndarray:
        """float32 (image_size, image_size, channels) in [-1, 1] of HU (rows, columns, channels)."""

    @abstractmethod
    def mask(self, mask: np.ndarray, hu: np.ndarray) -> np.ndarray:
        """uint8 {0, 1} (image_size, image_size) of a mask (rows, columns), on the image of `hu`."""

    @abstractmethod
    def back(self, probability: np.ndarray, hu: np.ndarray) -> np.ndarray:
        """float32 (rows, columns), the slice's own, of probabilities (image_size, image_size) on the image of `hu`."""

    @abstractmethod
    def in_words(self) -> list[str]:
        """How to make the input without this package, a step each: for the metadata of an exported model."""

    @abstractmethod
    def back_in_words(self) -> str:
        """How to bring probabilities to the slice's own size."""


@PREPROCESSINGS.register("window")
@dataclass(frozen=True)
class Window(Preprocessing):
    """A window of HU scaled to [-1, 1] and clipped, resized to a square; level 0 and width 2800 is the study's.

    `neighbours` slices on each side, those nearest to `distance_mm` and its multiples above and below, whatever the
    distance between slices, are channels beside the slice, from the lowest to the highest; the last stand for those
    beyond the end. With `crop` the image is the square about the body, a tenth wider, and what lies outside no liver.
    """

    image_size: int
    level_hu: float
    width_hu: float
    neighbours: int = 0
    distance_mm: float = 5.0
    crop: bool = False

    def __post_init__(self) -> None:
        for key in ("image_size", "width_hu", "distance_mm"):
            if not getattr(self, key) > 0:
                raise UserError(f"preprocessing.{key}={getattr(self, key)}: expected a number above 0.")
        if self.neighbours < 0:
            raise UserError(f"preprocessing.neighbours={self.neighbours}: expected a number from 0.")

    @property
    def channels(self) -> int:  # type: ignore[override]
        return 2 * self.neighbours + 1

    def hu(self, scan: Scan, rank: int) -> np.ndarray:
        if not self.neighbours:
            return scan.hu(rank)[..., None]
        z_mm = scan.z_mm
        steps = self.distance_mm * np.arange(-self.neighbours, self.neighbours + 1)
        return np.stack([scan.hu(_nearest(z_mm, rank, step)) for step in steps], axis=-1)

    def image(self, hu: np.ndarray) -> np.ndarray:
        scaled = window(hu[self._seen(hu)], self.level_hu, self.width_hu)
        return resize_image(scaled, (self.image_size, self.image_size))

    def mask(self, mask: np.ndarray, hu: np.ndarray) -> np.ndarray:
        return resize_mask(mask[self._seen(hu)], (self.image_size, self.image_size))

    def back(self, probability: np.ndarray, hu: np.ndarray) -> np.ndarray:
        seen, whole = self._seen(hu), np.zeros(hu.shape[:2], np.float32)
        whole[seen] = resize_image(probability, whole[seen].shape)
        return whole

    def _seen(self, hu: np.ndarray) -> tuple[slice, slice]:
        """The part of the slice that the image is made of."""
        return body_square(hu[..., self.neighbours]) if self.crop else (slice(None), slice(None))

    def in_words(self) -> list[str]:
        size = self.image_size
        near = [
            f"{self.channels} slices: x[..., c] is the one nearest to (c - {self.neighbours}) * {self.distance_mm} mm "
            "above slice n along the body, of two as near the one nearer to slice n; the last one stands for those "
            "beyond the end."
        ]
        square = [f"{CROP_IN_WORDS}: keep that square of the slice."]
        return [
            *near * bool(self.neighbours),
            *square * self.crop,
            f"x = clip((HU - level_hu) / (width_hu / 2), -1, 1) = clip((HU - {self.level_hu}) / "
            f"{self.width_hu / 2}, -1, 1), float32.",
            f"Resize x to {size} x {size}: one of this size stays as it is, one of more than {size} rows is averaged "
            "over areas (OpenCV's INTER_AREA), any other interpolated bilinearly (INTER_LINEAR: pixel centres at 0.5, "
            "border repeated, no antialiasing).",
        ]

    def back_in_words(self) -> str:
        size = self.image_size
        place = " Into the square of the slice that the image was made of; no liver elsewhere." if self.crop else ""
        return (
            "Resize probability[n, 0] to the rows and columns of the slice by the same rule: as it is when the slice "
            f"is {size} x {size}, averaged over areas when it has fewer than {size} rows, else bilinear."
            f"{place}"
        )


def _nearest(z_mm: np.ndarray, rank: int, step_mm: float) -> int:
    """The slice nearest to `step_mm` above slice `rank`; of two as near, which rounding tells apart, the one nearer to
    slice `rank`, whatever order files have.
    """
    off = np.abs(z_mm - z_mm[rank] - step_mm)
    near = np.flatnonzero(off <= off.min() + TIE_MM)
    return int(near[np.abs(z_mm[near] - z_mm[rank]).argmin()])


def window(hu: np.ndarray, level_hu: float, width_hu: float) -> np.ndarray:
    """Scale HU linearly so that the window [level - width/2, level + width/2] becomes [-1, 1], clipped; float32.

    Level 0 and width 2800 is the reference study's division by 1400.
    """
    scaled = (hu.astype(np.float32) - level_hu) / (width_hu / 2)
    return np.clip(scaled, -1.0, 1.0)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a float32 image, with channels or without, to `size` (rows, columns): area average when shrinking, else
    bilinear.
    """
    if image.shape[:2] == size:
        return image
    if image.ndim == 3 and image.shape[2] > MAX_CHANNELS:
        parts = np.split(image, range(MAX_CHANNELS, image.shape[2], MAX_CHANNELS), axis=2)
        return np.concatenate([resize_image(part, size) for part in parts], axis=2)
    shrinks = size[0] < image.shape[0]
    resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.reshape(*size, *image.shape[2:])  # OpenCV drops a single channel


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a {0, 1} mask to `size` (rows, columns): a pixel is liver when more than half of its area is.

    Where it is just half, frequent when a size is halved, every other pixel is: to count all of these as liver makes
    SET 3's liver 0.8 % larger, and nearest neighbour shifts the mask against the image by half a pixel.
    """
    if mask.shape == size:
        return mask
    area = resize_image(mask.astype(np.float32), size)
    odd_rows, odd_columns = (np.arange(n) % 2 > 0 for n in size)
    every_other = odd_rows[:, None] != odd_columns
    return ((area > 0.5) | (area == 0.5) & every_other).view(np.uint8)
