"""The aorta in drawn bodies, and in real ones that were looked at."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from chaos_seg.data.contrast import aorta_hu, contrast_phase
from chaos_seg.data.measures import measured
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes

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


@pytest.mark.parametrize("blood", [40, 90, 150, 330])
@pytest.mark.parametrize("at_mm", [(30, 12), (5, 36), (33, -5)])
@pytest.mark.parametrize("radius_mm", [9, 13])
def test_the_blood_is_that_of_the_aorta(blood: float, at_mm: tuple[float, float], radius_mm: float) -> None:
    assert aorta_hu(scan(blood, at_mm=at_mm, radius_mm=radius_mm), MM) == pytest.approx(blood, abs=6)


def test_without_a_spine_or_with_two_slices_none_is_found() -> None:
    assert aorta_hu(scan(150, spine=False), MM) is None
    assert aorta_hu([*scan(150)][:2], MM) is None and aorta_hu([], MM) is None
    assert aorta_hu([np.full((SIZE, SIZE), -1000, np.int16)] * 5, MM) is None


@pytest.mark.parametrize(
    ("aorta", "liver", "phase"),
    [
        (40, 60, "unenhanced"),
        (42, 10, "unenhanced"),  # fatty
        (160, 110, "venous"),
        (160, 45, "venous"),  # fatty
        (95, 90, "venous"),  # late
        (210, 140, "venous"),  # much medium: the liver has it, too
        (300, 75, "arterial"),
        (None, 75, None),
        (150, None, None),
    ],
)
def test_the_phase_is_read_from_aorta_and_liver(aorta: float | None, liver: float | None, phase: str | None) -> None:
    assert contrast_phase(aorta, liver) == phase


@pytest.mark.skipif("CHAOS_REAL_ROOT" not in os.environ, reason="needs real CT")
@pytest.mark.parametrize(
    ("patient", "blood", "phase"),
    # By a look at the aorta, and at the kidneys' cortex, which only 324 has bright beside a dark medulla.
    [("3", 160, "venous"), ("323", 40, "unenhanced"), ("324", 206, "arterial"), ("333", 160, "venous")],
)
def test_real_scans_have_the_phase_that_is_seen(tmp_path: Path, patient: str, blood: float, phase: str) -> None:
    (volume,) = open_volumes(tmp_path, [find_patients(Path(os.environ["CHAOS_REAL_ROOT"]))[patient]])
    measures = measured(volume)
    assert measures.aorta_hu == pytest.approx(blood, abs=8) and measures.alignment and measures.alignment.liver_hu
    assert contrast_phase(measures.aorta_hu, measures.alignment.liver_hu[0]) == phase
