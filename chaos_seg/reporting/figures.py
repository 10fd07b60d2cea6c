"""The figures of a study's report, drawn from the tables in its run folders."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.calibration import LEVELS, reliability
from chaos_seg.evaluation.counts import FIELDS
from chaos_seg.evaluation.repeats import rank_shares
from chaos_seg.evaluation.statistics import mean_interval
from chaos_seg.reporting.comparison import patient_values, shared_values
from chaos_seg.reporting.curves import BLUE, GREEN, ORANGE, STYLE, say_when_empty
from chaos_seg.reporting.runs import MANY, Run, scored_sides
from chaos_seg.reporting.thresholds import dice_by_threshold

# Okabe and Ito's colours; arms differ in marker and line style too.
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS, LINES = "osD^vPX", ("-", "--", "-.", ":", (0, (5, 1)))  # fewer lines than colours: 35 pairs
INK, SOFT = "#1b1f24", "#9aa2ab"
SIDE_TITLES = {"train": "Training patients", "val": "Validation patients", "test": "Test patients"}
BINS = 10  # of the position along the liver
PANELS = 5  # beside each other
CLOSE = {"fontsize": 7.5, "handlelength": 2.4, "labelspacing": 0.3}  # of a legend

Arms = Mapping[str, Sequence[Run]]


def dice_figure(arms: Arms, metric: str, ylabel: str) -> Figure:
    """A panel a side: a point for each patient under each arm, joined over the arms, with mean and interval. When
    many are compared, they lie below each other: their names are long.
    """
    sides = scored_sides([run for runs in arms.values() for run in runs])
    many, names = len(arms) > MANY, _folded(arms)
    size = (2.6 * len(sides) + 2.6, _height(names)) if many else (3.1 * len(sides) + 0.6, 3.6)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
        for axes, side in zip(panels, sides, strict=True):
            shown = _draw_patients(axes, arms, side, metric, many)
            say_when_empty(axes, "no patient with a score")
            if many:
                axes.set_yticks(range(len(arms)), names)
                axes.set_ylim(len(arms) - 0.4, -0.6)  # the first on top
                axes.set_xlabel(ylabel)
            else:
                axes.set_xticks(range(len(arms)), [arm.replace(", ", "\n") for arm in arms])
                axes.set_xlim(-0.5, len(arms) - 0.3)
            axes.set_title(f"{SIDE_TITLES[side]} (n = {shown})", fontsize=10, loc="left")
            axes.grid(axis="y" if many else "x", visible=False)
        if not many:
            panels[0].set_ylabel(ylabel)
    return figure


def _folded(names: Iterable[str]) -> list[str]:
    return [fill(name, 38, break_long_words=False) for name in names]


def _height(names: Sequence[str]) -> float:
    """Inches of a figure with these names below each other."""
    return 1.1 + len(names) * max(0.42, *(0.19 * (name.count("\n") + 1) for name in names))


def _draw_patients(axes: Axes, arms: Arms, side: str, metric: str, lying: bool) -> int:
    """Points, lines and intervals of one side, upwards or `lying` to the right; how many patients the means are of."""

    def draw(places: Sequence[float], values: Sequence[float], *style: str, **how: Any) -> None:
        axes.plot(*((values, places) if lying else (places, values)), *style, **how)

    scores = {arm: [row for run in runs for row in run.scores if row.side == side] for arm, runs in arms.items()}
    values = [patient_values(rows, metric) for rows in scores.values()]
    shared, _ = shared_values(scores, metric)
    for patient in dict.fromkeys(p for one in values for p in one):
        draw(range(len(arms)), [one.get(patient, np.nan) for one in values], color=SOFT, linewidth=0.8, zorder=1)
    for place, (one, paired, colour, marker) in enumerate(
        zip(values, shared.values(), cycle(COLOURS), cycle(MARKERS), strict=False)
    ):
        draw([place] * len(one), [*one.values()], marker, color=colour, markersize=5, alpha=0.75, zorder=2)
        if paired:
            mean, beside = mean_interval(list(paired.values())), place + (0.26 if lying else 0.22)
            across, width = ("|", 8) if lying else ("_", 14)
            draw([beside], [mean.value], across, color=INK, markersize=width, markeredgewidth=2)
            draw([beside] * 2, [mean.low, mean.high], color=INK, linewidth=1.4)
    return max(map(len, shared.values()))


def rank_figure(scores: Mapping[str, np.ndarray], side: str) -> Figure:
    """How often each arm has each rank by its mean when the patients are drawn anew; `scores` (patients,) of each."""
    shares = rank_shares(np.array(list(scores.values())))
    with mpl.rc_context(STYLE):
        names = _folded(scores)
        width = max(6.4, 0.55 * len(scores) + 3)  # for the numbers and the names
        figure = Figure(figsize=(width, _height(names)), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.8, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            axes.text(column, row, f"{100 * share:.0f} %", ha="center", va="center", fontsize=9, color=INK)
        many = len(scores) > MANY
        axes.set_xticks(range(len(scores)), [f"{'' if many else 'rank '}{k + 1}" for k in range(len(scores))])
        axes.set_xlabel("Rank" if many else "")
        axes.set_yticks(range(len(scores)), names)
        axes.set_title(f"{len(next(iter(scores.values())))} {side} patients drawn anew", fontsize=10, loc="left")
    return figure


def curve_figure(arms: Arms, names: Mapping[str, str], ylabel: str, together: str) -> Figure:
    """Curves against the epoch, a panel an arm and one for all: mean over an arm's runs, and their range shaded.

    Args:
        names: columns of metrics.csv without their side, and their labels.
        together: the column that the last panel shows, of validation.
    """
    width = min(len(arms) + 1, PANELS)
    rows = -(-(len(arms) + 1) // width)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.65 * width + 0.4, 2.9 * rows), layout="constrained")
        panels = figure.subplots(rows, width, squeeze=False).ravel()
        for axes in panels[len(arms) + 1 :]:
            axes.remove()
        panels = panels[: len(arms) + 1]
        for axes, (arm, runs) in zip(panels, arms.items(), strict=False):
            for (name, label), colour in zip(names.items(), (BLUE, ORANGE, GREEN), strict=False):
                for side, line in (("train", "--"), ("val", "-")):
                    shade = colour if len(names) > 1 or side == "train" else ORANGE
                    label_of_side = f"{label}{'validation' if side == 'val' else 'training'}"
                    _draw_mean(axes, runs, f"{side}/{name}", line, shade, label_of_side)
            axes.set_title(fill(arm, 32, break_long_words=False), fontsize=10, loc="left")
        for (arm, runs), colour, style in zip(arms.items(), cycle(COLOURS), cycle(LINES), strict=False):
            _draw_mean(panels[-1], runs, f"val/{together}", style, colour, arm)
        panels[-1].set_title(f"all, {names[together]}validation", fontsize=10, loc="left")
        for axes in panels:
            say_when_empty(axes, "no epoch with a value")
        low, high = zip(*(axes.get_ylim() for axes in panels), strict=True)
        for axes in panels:
            axes.set_xlabel("Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.margins(x=0.02)
            if together != "loss":  # losses have scales of their own
                axes.set_ylim(max(min(low), 0), min(max(high), 1.005))
        panels[0].legend(**CLOSE)
        _tell_arms(panels[-1], arms, **CLOSE)
        for axes in panels[::width]:
            axes.set_ylabel(ylabel)
    return figure


def _draw_mean(axes: Axes, runs: Sequence[Run], column: str, line: object, colour: str, label: str) -> None:
    epochs = min(len(run.epochs) for run in runs)
    values = np.array([[float(row[column]) for row in run.epochs[:epochs]] for run in runs])
    x = np.arange(1, epochs + 1)
    marker = "o" if epochs == 1 else ""
    axes.plot(x, values.mean(axis=0), linestyle=line, marker=marker, color=colour, linewidth=1.4, label=label)
    if len(runs) > 1:
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)


def slice_positions(run: Run, side: str) -> list[tuple[float, np.ndarray, np.ndarray, int]]:
    """Of each slice of a side's patients: its position, counts (4,), far false positives and negatives (2,), and the
    liver pixels of its patient.

    The position is 0 at the dome, the liver's highest slice, and 1 at its tip, the lowest; below 0 and above 1 are
    slices beyond. z grows towards the head. Patients without liver are left out.
    """
    slices = []
    for patient in run.patients(side):
        rows = run.slices[patient]
        z = np.array([float(row["z_mm"]) for row in rows])
        counts = np.array([[int(row[field]) for field in FIELDS] for row in rows])
        far = np.array([[int(row["fp_far"]), int(row["fn_far"])] for row in rows])
        liver = counts[:, 0] + counts[:, 2]
        if not liver.any():
            continue
        dome, tip = z[liver > 0].max(), z[liver > 0].min()
        place = (dome - z) / (dome - tip) if dome > tip else np.where(z == dome, 0.5, np.sign(dome - z) * np.inf)
        slices += [(float(p), c, f, int(liver.sum())) for p, c, f in zip(place, counts, far, strict=True)]
    return slices


def position_figure(arms: Arms, side: str, far_mm: float) -> Figure:
    """Dice of slices from dome to tip, and the wrong pixels there as a share of the patient's liver."""
    edges = np.linspace(0, 1, BINS + 1)
    middles, width = 100 * (edges[:-1] + edges[1:]) / 2, 100 / BINS
    places = np.array([-1.3 * width, *middles, 100 + 1.3 * width])  # above the dome, in the liver, below the tip
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
        for k, ((arm, runs), colour, line, marker) in enumerate(
            zip(arms.items(), cycle(COLOURS), cycle(LINES), cycle(MARKERS), strict=False)
        ):
            slices = [one for run in runs for one in slice_positions(run, side)]
            group = np.digitize([one[0] for one in slices], edges)  # 0 beyond the dome, 1 to BINS, BINS + 1
            group[[one[0] == 1 for one in slices]] = BINS
            counts = np.array([one[1] for one in slices]).reshape(-1, 4)
            wrong = np.array([[*one[1][1:3], *one[2]] for one in slices]).reshape(-1, 4)
            share = wrong / np.array([one[3] for one in slices]).reshape(-1, 1)
            dice = score.dice(counts)
            liver = counts[:, 0] + counts[:, 2] > 0
            medians, low, high = (
                [_quantile(dice[(group == b) & liver], q) for b in range(1, BINS + 1)] for q in (0.5, 0.25, 0.75)
            )
            left.plot(middles, medians, marker=marker, markersize=4, linestyle=line, color=colour, label=arm)
            left.fill_between(middles, low, high, color=colour, alpha=0.13, linewidth=0)
            # Mean over patients and runs, in percent of the liver: false positives up, false negatives down.
            total = np.array([share[group == b].sum(axis=0) for b in range(BINS + 2)]) * 100
            total /= sum(len(run.patients(side)) for run in runs)
            bar = 0.82 * width / len(arms)
            x = places + (k - (len(arms) - 1) / 2) * bar
            right.bar(x, total[:, 0], bar, color=colour, label=arm)
            right.bar(x, -total[:, 1], bar, color=colour, alpha=0.55)
            for far, sign in ((total[:, 2], 1), (total[:, 3], -1)):
                right.bar(x, sign * far, bar, facecolor="none", edgecolor=INK, hatch="////", linewidth=0.4)
        say_when_empty(left, "no slice with liver")
        left.set(xlabel="Position in the liver, % from dome to tip", ylabel="Dice of a slice", xlim=(0, 100))
        left.set_ylim(top=1.005)
        right.axhline(0, color=INK, linewidth=0.8)
        right.set_xticks([places[0], 0, 50, 100, places[-1]], ["above", "dome", "50", "tip", "below"], fontsize=9)
        right.set_xlabel("Position in the liver, %")
        right.set_ylabel("Wrong voxels, % of the liver\n← missed      added →")
        right.bar([0], [0], facecolor="none", edgecolor=INK, hatch="////", label=f"over {far_mm:g} mm from the outline")
        if len(arms) <= MANY:
            left.legend(fontsize=8, loc="lower center")
            right.set_ylim(top=1.3 * right.get_ylim()[1])  # room for the legend
            right.legend(fontsize=8, ncols=2, loc="upper left")
        else:  # lines tell more of them apart than the bars, which stand in their order
            _tell_arms(left, arms)
            right.legend(handles=right.get_legend_handles_labels()[0][-1:], fontsize=8)
    return figure


def _tell_arms(axes: Any, arms: Arms, **how: Any) -> None:
    """The legend of what is compared, below the figure when it is much."""
    if len(arms) <= MANY:
        axes.legend(**how)
    else:
        figure, (handles, labels) = axes.figure, axes.get_legend_handles_labels()
        folded = _folded(labels)  # three columns of a figure of 9.6 inches
        lines = sum(label.count("\n") + 1 for label in folded)
        figure.set_figheight(figure.get_figheight() + 0.18 * (-(-lines // 3) + 1))
        figure.legend(handles, folded, loc="outside lower left", ncols=3, fontsize=8)


def _quantile(values: np.ndarray, q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")


def threshold_figure(arms: Arms, side: str) -> Figure:
    """Dice against the threshold, and how often pixels of each predicted probability are liver."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        for (arm, runs), colour, line, marker in zip(
            arms.items(), cycle(COLOURS), cycle(LINES), cycle(MARKERS), strict=False
        ):
            curve = dice_by_threshold(runs, side)
            left.plot(range(LEVELS - 1), curve, linestyle=line, color=colour, label=arm)
            levels = sum((run.levels[p] for run in runs for p in run.patients(side)), np.zeros((2, LEVELS), np.int64))
            predicted, observed, _ = reliability(levels)
            right.plot(predicted, observed, marker=marker, markersize=4, linestyle=line, color=colour, label=arm)
        for axes in (left, right):
            say_when_empty(axes, "no patient with liver")
        used = {float(run.summary["threshold"]) for runs in arms.values() for run in runs}
        for threshold in sorted(used):
            left.axvline(threshold, color=INK, linewidth=0.9, linestyle=":")
            left.annotate(
                f"used: {threshold:g}",
                (threshold, 0.02),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                xytext=(3, 0),
                textcoords="offset points",
            )
        tops = [dice for axis in left.get_lines()[: len(arms)] for dice in np.asarray(axis.get_ydata(), float)]
        top = np.nanmax(tops) if not np.isnan(tops).all() else 1.0
        left.set(xlabel="Threshold of 255 x probability", ylabel=f"Volume Dice, mean over {side} patients")
        left.set(xlim=(0, 254), ylim=(max(0.0, top - 0.25), min(1.0, top + 0.02)))
        _tell_arms(left, arms, fontsize=8)
        right.plot([0, 1], [0, 1], color=SOFT, linewidth=1, zorder=0)
        right.set(xlabel="Predicted probability of liver", ylabel=f"Share of liver, {side} patients")
        right.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return figure
