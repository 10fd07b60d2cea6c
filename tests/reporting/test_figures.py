from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.evaluation.calibration import LEVELS
from chaos_seg.evaluation.counts import FIELDS
from chaos_seg.evaluation.scores import patient_score
from chaos_seg.files import write_csv
from chaos_seg.reporting import figures
from chaos_seg.reporting.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Patient a: six slices from the head down, liver on the second to fourth; b: none at all."""
    counted = {
        "a": ((0, 5, 0), (10, 0, 2), (20, 0, 0), (8, 4, 0), (0, 0, 0), (0, 3, 0)),
        "b": ((0, 1, 0), (0, 0, 0)),
    }
    rows = [
        {"patient": patient, "rank": rank, "z_mm": -2.0 * rank, **dict(zip(FIELDS, (*counts, 9), strict=True))}
        | {"fp_far": 1, "fn_far": 0}
        for patient, slices in counted.items()
        for rank, counts in enumerate(slices)
    ]
    write_csv(tmp_path / "per_slice.csv", rows)
    blank = patient_score("a", "test", np.zeros((1, 4), int))
    scores = [blank, replace(blank, patient="b")]
    return Run(tmp_path, "bce", {"loss.name": "bce", "seed": 0}, {}, {"threshold": 100}, scores, [])


def test_positions_go_from_the_dome_down_to_the_tip(run: Run) -> None:
    found = figures.slice_positions(run, "test")
    assert [place for place, *_ in found] == pytest.approx([-0.5, 0.0, 0.5, 1.0, 1.5, 2.0])  # b has no liver
    assert {liver for *_, liver in found} == {10 + 2 + 20 + 8}
    assert found[1][1].tolist() == [10, 0, 2, 9] and found[0][2].tolist() == [1, 0]


def test_errors_are_shown_where_they_are(run: Run) -> None:
    figure = figures.position_figure({"bce": [run]}, "test", 5.0)
    left, right = figure.axes
    heights = [bar.get_height() for bar in right.patches[: figures.BINS + 2]]
    patients = 2  # b is one of them, without a liver of which its error could be a share
    assert heights[0] == pytest.approx(100 * 5 / 40 / patients)  # above the dome
    assert heights[-1] == pytest.approx(100 * 3 / 40 / patients)  # below the tip, both slices
    assert heights[figures.BINS] == pytest.approx(100 * 4 / 40 / patients)  # the tip itself is in the last tenth
    missed = [bar.get_height() for bar in right.patches[figures.BINS + 2 : 2 * (figures.BINS + 2)]]
    assert missed[1] == pytest.approx(-100 * 2 / 40 / patients) and sum(missed) == missed[1]
    dice = left.get_lines()[0].get_ydata()
    assert dice[0] == pytest.approx(20 / 22) and dice[-1] == pytest.approx(16 / 20)
    assert "dome to tip" in left.get_xlabel() and "%" in right.get_ylabel()


def test_the_threshold_used_is_marked(run: Run) -> None:
    levels = np.zeros((2, LEVELS), np.int64)
    levels[:, [50, 150]] = [[80, 20], [10, 90]]
    run.__dict__["levels"] = {"a": levels, "b": levels}
    left, right = figures.threshold_figure({"bce": [run]}, "test").axes
    curve = left.get_lines()[0].get_ydata()
    assert curve[100] == pytest.approx(2 * 90 / (2 * 90 + 20 + 10)) and np.isclose(curve[200:], 0).all()
    assert left.get_lines()[1].get_xdata()[0] == 100
    observed = right.get_lines()[0].get_ydata()
    assert observed[1] == pytest.approx(10 / 90) and observed[5] == pytest.approx(90 / 110)
