import math

import numpy as np
import pytest

from chaos_seg.evaluation.metrics import Case, heading, metrics_of
from chaos_seg.registry import METRICS


def case(*counts: tuple[int, int, int, int]) -> Case:
    return Case(np.array(counts), (), (), (1.0, 1.0, 1.0))


def test_metrics_of_a_patient_by_hand() -> None:
    values = metrics_of(case((6, 2, 6, 86), (3, 1, 1, 95), (0, 0, 0, 100)))
    assert list(values) == ["volume_dice", "slice_dice", "accuracy", "precision", "recall"]
    assert values == pytest.approx(
        {
            "volume_dice": 18 / 28,
            "slice_dice": (12 / 20 + 6 / 8) / 2,
            "accuracy": 290 / 300,
            "precision": 9 / 12,
            "recall": 9 / 16,
        }
    )
    nothing = metrics_of(case((0, 0, 0, 5)))
    assert {name for name, value in nothing.items() if math.isnan(value)} == values.keys() - {"accuracy"}


def test_headings_are_what_their_docstrings_begin_with() -> None:
    names = ["Volume Dice", "Slice-mean Dice", "Binary accuracy", "Precision", "Recall"]
    assert [heading(name) for name in METRICS.entries()] == names
    assert heading("of_another_package") == "of_another_package"
