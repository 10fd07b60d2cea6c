"""The study's three figures from a run's metrics.csv: loss, accuracy and metrics against the epoch."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from chaos_seg.files import atomic_file, read_csv

# Okabe and Ito's colours, which colour-blind readers can tell apart; sides differ in line style too.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


def draw_curves(metrics: Path, folder: Path, title: str) -> list[Path]:
    """Draw loss.png, accuracy.png and metrics.png into `folder` from the file `metrics`; `title` names the run."""
    rows = read_csv(metrics)
    epochs = [int(row["epoch"]) + 1 for row in rows]

    def plot(axes: Axes, name: str, label: str, colours: tuple[str, str]) -> None:
        for side, style, colour in (("train", "--", colours[0]), ("val", "-", colours[1])):
            values = [float(row[f"{side}/{name}"]) for row in rows]
            marker = "o" if len(rows) == 1 else ""  # one epoch is no line
            side_label = "validation" if side == "val" else "training"
            axes.plot(epochs, values, style, marker=marker, color=colour, label=f"{label}{side_label}")

    paths = []
    with mpl.rc_context(STYLE):
        for file, ylabel, names in (
            ("loss", "Loss", {"loss": ""}),
            ("accuracy", "Binary accuracy", {"accuracy": ""}),
            (
                "metrics",
                "Score, mean over patients",
                {"dice": "Dice, ", "precision": "Precision, ", "recall": "Recall, "},
            ),
        ):
            figure = Figure(figsize=(6.4, 4.0))  # a layout that is sought would take as long as the drawing
            axes = figure.add_axes((0.125, 0.13, 0.86, 0.8))
            for (name, label), colour in zip(names.items(), (BLUE, ORANGE, GREEN), strict=False):
                plot(axes, name, label, (colour, colour) if len(names) > 1 else (BLUE, ORANGE))
            say_when_empty(axes, "no epoch with a value")
            axes.set(xlabel="Epoch", ylabel=ylabel)
            axes.set_title(title, fontsize=9, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.margins(x=0.02)
            axes.legend(ncols=2 if len(names) > 1 else 1, fontsize=9)
            paths.append(save_figure(figure, folder / f"{file}.png"))
    return paths


def say_when_empty(axes: Axes, words: str) -> None:
    """Write `words` into axes whose lines so far, if any, have no value."""
    if not any(np.isfinite(np.asarray(line.get_ydata(), float)).any() for line in axes.get_lines()):
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=9)


def save_figure(figure: Figure, path: Path) -> Path:
    with atomic_file(path) as file:
        figure.savefig(file, format="png")
    return path
