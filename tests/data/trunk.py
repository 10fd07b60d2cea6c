"""A drawn trunk with what lies around the aorta."""

from collections.abc import Iterator

import cv2
import numpy as np

MM, SIZE = 0.8, 448
VERTEBRA = (290, 224)  # row and column, of a body whose middle is (224, 224)


def body(blood: float, spine: bool = True, radius_mm: float = 11, at_mm: tuple[float, float] = (30, 12)) -> np.ndarray:
    """A slice of HU: an ellipse of tissue with fat, and in it a vertebra, the aorta `at_mm` ahead of it and to the
    left, the cava in front on the right, a stomach full of contrast medium, and a kidney.
    """

    def fill(middle: tuple[float, float], half: tuple[float, float], value: float) -> None:
        row, column = middle
        cv2.ellipse(hu, (round(column), round(row)), (round(half[1] / MM), round(half[0] / MM)), 0, 0, 360, value, -1)

    hu = np.full((SIZE, SIZE), -1000, np.float32)
    fill((224, 224), (110, 160), -100)
    row, column = VERTEBRA
    fill((row - 55 / MM, column + 40 / MM), (25, 30), 350)  # stomach
    fill((row, column + 65 / MM), (25, 20), 190)  # kidney
    fill((row - 32 / MM, column - 25 / MM), (12, 14), blood - 20)  # cava
    fill((row - at_mm[0] / MM, column + at_mm[1] / MM), (radius_mm, radius_mm), blood)
    if spine:
        fill(VERTEBRA, (17, 21), 400)
        fill(VERTEBRA, (13, 17), 140)  # no bone by its HU: the middle is found all the same
    return hu


def scan(blood: float, **how: object) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(5):
        noise = cv2.GaussianBlur(rng.normal(0, 25, (SIZE, SIZE)), (0, 0), 0.7)
        yield np.rint(body(blood, **how) + noise).astype(np.int16)  # type: ignore[arg-type]
