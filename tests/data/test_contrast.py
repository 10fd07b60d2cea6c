"""The aorta in drawn bodies, and in real ones that were looked at."""

import os
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.contrast import aorta_hu, contrast_phase
from chaos_seg.data.measures import measured
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from tests.data.trunk import MM, SIZE, scan


@pytest.mark.parametrize("blood", [40, 90, 150, 330])
@pytest.mark.parametrize("at_mm", [(30, 12), (5, 36), (33, -5)])
@pytest.mark.parametrize("radius_mm", [9, 13])
def test_the_blood_is_that_of_the_aorta(blood: float, at_mm: tuple[float, float], radius_mm: float) -> None:
    assert aorta_hu(scan(blood, at_mm=at_mm, radius_mm=radius_mm), MM) == pytest.approx(blood, abs=6)


def test_without_a_spine_or_with_two_slices_none_is_found() -> None:
    assert aorta_hu(scan(150, spine=False), MM) is None
    assert aorta_hu([*scan(150)][:2], MM) is None and aorta_hu([], MM) is None
    for even in (-1000, 300):
        assert aorta_hu([np.full((SIZE, SIZE), even, np.int16)] * 5, MM) is None


def test_spacing_that_is_no_bodys_is_not_tried() -> None:
    """Metres for millimetres would be a window of gigabytes."""
    for spacing in (0.0008, 0.08, 0.0, 8.0, float("nan")):
        assert aorta_hu(scan(150), spacing) is None


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
