import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from chaos_seg.errors import UserError
from chaos_seg.evaluation.metrics import Case, check_metrics, heading, metrics_of
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


@pytest.fixture
def theirs() -> Iterator[Callable[[object], None]]:
    yield lambda metric: METRICS._entries.update(theirs=metric)  # type: ignore[call-overload]
    METRICS._entries.pop("theirs", None)


def test_a_metric_that_fails_or_takes_a_columns_name_is_refused_before_training(
    theirs: Callable[[object], None],
) -> None:
    check_metrics({"tp"})
    with pytest.raises(
        UserError, match=r"metric recall: expected another name, since a column of per_patient.csv has it"
    ):
        check_metrics({"recall"})
    theirs(lambda case: case.predicted - case.true)
    with pytest.raises(UserError, match="metric theirs: expected a number, found TypeError: unsupported operand"):
        check_metrics(set())
    theirs(lambda case: None)
    with pytest.raises(UserError, match="metric theirs: expected a number, found TypeError"):
        check_metrics(set())
