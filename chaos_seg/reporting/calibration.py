"""Whether the probabilities on slices with liver are what they say, before and after a run's temperature."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from chaos_seg.evaluation.statistics import mean_interval
from chaos_seg.evaluation.temperature import BINS, brier, calibration_error, reliability_at
from chaos_seg.reporting.comparison import arm_column
from chaos_seg.reporting.curves import BLUE, GREEN, ORANGE, STYLE, say_when_empty
from chaos_seg.reporting.runs import Run, by_arm, scored_sides
from chaos_seg.reporting.tables import Column, Table

MEASURES: tuple[Callable[[np.ndarray, float], float], ...] = (calibration_error, brier)


def calibration_table(runs: Sequence[Run]) -> Table | None:
    """Calibration error and Brier score of the last side before and after, and what the temperature changes; None
    without a run that has counted its slices with liver.
    """
    last, rows = scored_sides(runs)[-1], []
    for arm, members in by_arm(runs).items():
        members = [run for run in members if run.temperature is not None]
        columns = [_of_patients(members, last, measure) for measure in MEASURES]
        if not columns[0]:
            continue
        steps: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "as predicted": lambda pair: pair[:, 0],
            f"temperature {_temperatures(members)}": lambda pair: pair[:, 1],
            "change": lambda pair: pair[:, 1] - pair[:, 0],
        }
        for words, step in steps.items():
            intervals = [mean_interval(step(np.array([*values.values()]))) for values in columns]
            cells = [cell for one in intervals for cell in (one.value, one.low, one.high)]
            rows.append([arm, words, *cells, len(columns[0])])
    if not rows:
        return None
    named = [Column(title, 4) for measure in ("ECE", "Brier") for title in (measure, "from", "to")]
    note = (
        f"{last} patients, pixels of the slices with liver. ECE: expected calibration error in 10 bins of equal width; "
        "Brier: mean squared error of the probability. Each is one number a patient, the mean over its runs; from, to: "
        "95 % bootstrap interval of the mean over the n patients. Each run's temperature is fitted on its own "
        "validation patients"
    )
    note += ", which are these: the gain is optimistic." if last == "val" else "."
    return Table(
        "calibration",
        "Are the probabilities what they say?",
        [arm_column(by_arm(runs)), Column("probabilities"), *named, Column("n")],
        rows,
        note,
    )


def _of_patients(
    runs: Sequence[Run], side: str, measure: Callable[[np.ndarray, float], float]
) -> Mapping[str, np.ndarray]:
    """Of each patient with liver, before and after, mean over runs: float64 (2,)."""
    values: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        for patient in run.patients(side):
            if patient in run.logits and run.temperature is not None:
                counts = run.logits[patient]
                values.setdefault(patient, []).append((measure(counts, 1.0), measure(counts, run.temperature)))
    return {patient: np.mean(pairs, axis=0) for patient, pairs in values.items()}


def _temperatures(runs: Sequence[Run]) -> str:
    low, high = (f"{pick(run.temperature or 1.0 for run in runs):.2f}" for pick in (min, max))
    return low if low == high else f"{low} to {high}"


def calibration_figure(runs: Sequence[Run]) -> Figure:
    """The share of liver against the predicted probability, before and after, of all pixels on the last side's slices
    with liver.
    """
    last = scored_sides(runs)[-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.9), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, after, title in zip(panels, (False, True), ("as predicted", "by temperature"), strict=True):
            looks = zip(by_arm(runs).items(), cycle((BLUE, ORANGE, GREEN, "#CC79A7")), cycle("osD^v"), strict=False)
            for (arm, members), colour, marker in looks:
                drawn = [_pooled(run, last, after) for run in members if run.temperature is not None]
                if drawn:
                    predicted, observed = np.nansum(drawn, axis=0)[:2] / np.nansum(drawn, axis=0)[2]
                    axes.plot(predicted, observed, marker=marker, markersize=4, color=colour, label=arm)
            say_when_empty(axes, "no patient with liver")
            axes.plot([0, 1], [0, 1], color="#9aa2ab", linewidth=1, zorder=0)
            axes.set(xlabel="Predicted probability of liver", xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axes.set_title(title, fontsize=10, loc="left")
        panels[0].set_ylabel(f"Share of liver, {last} patients")
        if panels[0].get_legend_handles_labels()[0]:
            panels[0].legend(fontsize=8)
    return figure


def _pooled(run: Run, side: str, after: bool) -> np.ndarray:
    """Sums of the probability, of liver and of pixels in each bin: float64 (3, 10)."""
    counts = sum((run.logits[p] for p in run.patients(side) if p in run.logits), np.zeros((2, BINS), np.int64))
    predicted, observed, pixels = reliability_at(counts, run.temperature or 1.0 if after else 1.0)
    return np.stack([predicted * pixels, observed * pixels, pixels])
