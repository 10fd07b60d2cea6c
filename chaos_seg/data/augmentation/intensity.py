"""Steps that change what a pixel says, not where it is."""

import cv2
import numpy as np

from chaos_seg.data.augmentation import Drawn
from chaos_seg.data.preprocessing import resize_image
from chaos_seg.errors import UserError
from chaos_seg.registry import AUGMENTATIONS


@AUGMENTATIONS.register("contrast_hu")
class ContrastHu(Drawn):
    """HU stretched about `centre_hu` by a factor and shifted, both uniform: another phase, dose or scanner.

    A random window before clipping (random windowing, arXiv 2510.08116): after clipping what left the window is gone.
    """

    in_hu = True

    def __init__(
        self,
        factor: list[float],
        shift_hu: list[float],
        centre_hu: float = 50.0,
        share: float = 0.8,
    ):
        super().__init__(share)
        self.factor, self.shift_hu, self.centre_hu = _range("factor", factor), _range("shift_hu", shift_hu), centre_hu

    def taken(self, hu: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        factor, shift = rng.uniform(*self.factor), rng.uniform(*self.shift_hu)
        stretched = (hu.astype(np.float32) - self.centre_hu) * factor + self.centre_hu + shift
        return stretched.astype(np.float32), mask


@AUGMENTATIONS.register("gamma")
class Gamma(Drawn):
    """The image, taken as 0 to 1, to the power of a number drawn log-uniformly."""

    def __init__(self, power: list[float], share: float = 0.3):
        super().__init__(share)
        self.power = _range("power", power)

    def taken(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        power = np.exp(rng.uniform(*np.log(self.power)))
        share = np.clip((image + 1) / 2, 0, 1)  # a resized image may lie a rounding below -1, which has no such power
        return (share**power * 2 - 1).astype(np.float32), mask


@AUGMENTATIONS.register("noise")
class Noise(Drawn):
    """Gaussian noise of a standard deviation uniform from 0 to `std`, where the image goes from -1 to 1."""

    def __init__(self, std: float = 0.1, share: float = 0.3):
        super().__init__(share)
        self.std = std

    def taken(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, self.std))
        return np.clip(image + noise, -1, 1), mask


@AUGMENTATIONS.register("blur")
class Blur(Drawn):
    """A Gaussian blur of a width uniform from 0.3 to `pixels`."""

    def __init__(self, pixels: float = 1.0, share: float = 0.2):
        super().__init__(share)
        self.pixels = pixels

    def taken(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, max(self.pixels, 0.3))), mask


@AUGMENTATIONS.register("low_resolution")
class LowResolution(Drawn):
    """Down to a share of the size, uniform from `least` to 1, and up again: thick slices and soft kernels."""

    def __init__(self, least: float = 0.5, share: float = 0.2):
        super().__init__(share)
        self.least = least

    def taken(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = len(image)
        small = max(1, round(size * rng.uniform(self.least, 1)))
        return resize_image(resize_image(image, (small, small)), (size, size)), mask


def _range(key: str, values: list[float]) -> tuple[float, float]:
    if len(values) != 2 or values[0] > values[1]:
        raise UserError(f"augmentation.{key}={values}: expected two numbers, the smaller first.")
    return float(values[0]), float(values[1])
