import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from chaos_seg.evaluation.calibration import LEVELS
from chaos_seg.evaluation.counts import FIELDS
from chaos_seg.evaluation.metrics import Case
from chaos_seg.evaluation.scores import patient_score
from chaos_seg.files import write_csv
from chaos_seg.reporting import figures
from chaos_seg.reporting.page import drawn
from chaos_seg.reporting.runs import Run, read_runs


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
    blank = patient_score("a", "test", Case(np.zeros((1, 4), int), (), (), (1.0, 1.0, 1.0)))
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


def unscored(run: Run, tmp_path: Path) -> Run:
    """Its patients have neither liver nor a score, its epochs no precision, its masks nothing at any threshold."""
    rows = [{**row, "tp": 0, "fn": 0} for rows in run.slices.values() for row in rows]
    write_csv(tmp_path / "empty" / "per_slice.csv", rows)
    side_names = [f"{side}/{name}" for side in ("train", "val") for name in ("loss", "precision", "dice")]
    write_csv(
        tmp_path / "empty" / "metrics.csv", [{"epoch": 0, **dict.fromkeys(side_names, float("nan"))} for _ in range(2)]
    )
    scores = [replace(row, values=dict.fromkeys(row.values, float("nan"))) for row in run.scores]
    empty = replace(run, folder=tmp_path / "empty", scores=scores)
    levels = np.zeros((2, LEVELS), np.int64)
    levels[0, 0] = 50
    empty.__dict__["levels"] = dict.fromkeys("ab", levels)
    return empty


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_figures_of_nothing_say_so(run: Run, tmp_path: Path) -> None:
    arms = {"bce": [unscored(run, tmp_path)]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no mean of nothing, no legend of nothing
        for figure, said in (
            (figures.position_figure(arms, "test", 5.0), "no slice with liver"),
            (figures.dice_figure(arms, "slice_dice", "Dice"), "no patient with a score"),
            (
                figures.curve_figure(arms, {"dice": "Dice, ", "precision": "p, "}, "Score", "dice"),
                "no epoch with a value",
            ),
            (figures.curve_figure(arms, {"loss": ""}, "Loss", "loss"), "no epoch with a value"),
            (figures.threshold_figure(arms, "test"), "no patient with liver"),
        ):
            assert drawn(figure) and said in words(figure)


def test_a_loss_with_nothing_to_show_leaves_the_others_as_they_are(run: Run, tmp_path: Path) -> None:
    empty = unscored(run, tmp_path)
    alone = figures.position_figure({"iou": [run]}, "test", 5.0)
    both = figures.position_figure({"bce": [empty], "iou": [run]}, "test", 5.0)
    assert drawn(both) and not words(both)
    dice = next(line.get_ydata() for line in both.axes[0].get_lines() if line.get_label() == "iou")
    assert np.array_equal(dice, alone.axes[0].get_lines()[0].get_ydata(), equal_nan=True)


def test_long_names_of_many_lie_within_the_figure_and_not_on_each_other(finished: Path) -> None:
    (one,) = read_runs([finished])
    name = "dice_bce, preprocessing.neighbours=1, without gamma, noise, blur, low_resolution, seed {}"
    arms = {name.format(k): [one] for k in range(12)}
    dice = np.random.default_rng(0).random((12, 5))
    for figure in (
        figures.dice_figure(arms, "volume_dice", "Volume Dice"),
        figures.rank_figure(dict(zip(arms, dice, strict=True)), "test"),
        figures.curve_figure(arms, {"loss": ""}, "Loss", "loss"),
        figures.position_figure(arms, "test", 5.0),
        figures.threshold_figure(arms, "test"),
    ):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        told = figure.axes[0].get_yticklabels()
        told += [text for legend in figure.legends for text in legend.get_texts()]
        boxes = [text.get_window_extent() for text in told if "seed" in text.get_text()]
        assert len(boxes) == 12
        for box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert not any(a.padded(-1).overlaps(b) for a, b in combinations(boxes, 2))
