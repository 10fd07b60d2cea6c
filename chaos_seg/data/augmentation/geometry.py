"""Steps that move the image and its mask alike. The only module that imports albumentations."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or its import asks the network for its version

import albumentations as A
import cv2
import numpy as np

from chaos_seg.data.augmentation import Drawn
from chaos_seg.errors import UserError
from chaos_seg.registry import AUGMENTATIONS


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


@AUGMENTATIONS.register("affine")
class Affine(Drawn):
    """Rotation, scale exp(+-`scale`) and shift by a share of the size about the centre, each uniform: in one warp."""

    def __init__(self, degrees: float = 15.0, scale: float = 0.25, shift: float = 0.08, share: float = 1.0):
        super().__init__(share)
        self.degrees, self.scale, self.shift = degrees, scale, shift

    def taken(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = len(image)
        centre = ((size - 1) / 2, (size - 1) / 2)
        angle, scale = rng.uniform(-self.degrees, self.degrees), np.exp(rng.uniform(-self.scale, self.scale))
        matrix = cv2.getRotationMatrix2D(centre, angle, scale)
        matrix[:, 2] = matrix[:, 2] + rng.uniform(-self.shift, self.shift, 2) * size
        warped = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        turned = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        return warped, turned
