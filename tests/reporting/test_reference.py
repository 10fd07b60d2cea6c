import numpy as np
import pytest

from chaos_seg.reporting.reference import AVERAGES, PATIENTS, SLICES


def test_published_numbers_are_the_studys() -> None:
    """Its averages follow from its tables, within its rounding; see the module."""
    means = {side: float(np.mean(list(dice.values()))) for side, dice in PATIENTS.items()}
    assert means == pytest.approx({side: AVERAGES[side] for side in means}, abs=0.0025)
    assert np.mean([AVERAGES[side] for side in means]) == pytest.approx(AVERAGES["splits"], abs=5e-4)
    assert sum(SLICES.values()) == 2874 and set(SLICES) == {p for side in PATIENTS.values() for p in side}
