"""From HU to the network's input, and the augmentation. The only module that imports albumentations."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for its version

import albumentations as A
import cv2
import numpy as np

cv2.setNumThreads(1)  # torch has the cores


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


class Rotation:
    """Rotation by an angle uniform in +-`degrees`, about the centre: image bilinear, mask nearest, border repeated.

    Albumentations' own random state repeats across workers and epochs, so it is set for each call from the given
    numbers: the result is a pure function of the image and of them.
    """

    def __init__(self, degrees: float):
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

    def __call__(self, image: np.ndarray, mask: np.ndarray, entropy: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Rotate `image` and `mask` (rows, columns) by the angle that `entropy` (integers >= 0) stands for."""
        self._compose.set_random_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        turned = self._compose(image=image, mask=mask)
        return turned["image"], turned["mask"]
