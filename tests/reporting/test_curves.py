from pathlib import Path

import pytest
from matplotlib.figure import Figure

from chaos_seg.files import write_csv
from chaos_seg.reporting import curves


def test_three_figures_show_both_sides_of_what_their_name_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        f"{side}/{name}" for side in ("train", "val") for name in ("loss", "accuracy", "dice", "precision", "recall")
    ]
    write_csv(
        tmp_path / "m.csv", [{"epoch": e, **{name: (e + k) / 100 for k, name in enumerate(names)}} for e in range(3)]
    )
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(curves, "save_figure", lambda figure, path: figures.setdefault(path.stem, figure))
    curves.draw_curves(tmp_path / "m.csv", tmp_path, "a run")
    drawn = {
        name: {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].get_lines()}
        for name, figure in figures.items()
    }
    assert drawn["loss"] == {"training": [0.0, 0.01, 0.02], "validation": [0.05, 0.06, 0.07]}
    assert drawn["accuracy"]["validation"] == [0.06, 0.07, 0.08]
    assert list(drawn["metrics"]) == [
        f"{m}, {s}" for m in ("Dice", "Precision", "Recall") for s in ("training", "validation")
    ]
    assert drawn["metrics"]["Recall, validation"] == [0.09, 0.10, 0.11]
    axes = figures["loss"].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")) == ("Epoch", "Loss", "a run")
    assert list(axes.get_lines()[0].get_xdata()) == [1, 2, 3]  # epochs are counted from 1 for readers


def test_one_epoch_is_drawn_as_points(tmp_path: Path) -> None:
    names = [
        f"{side}/{name}" for side in ("train", "val") for name in ("loss", "accuracy", "dice", "precision", "recall")
    ]
    write_csv(tmp_path / "m.csv", [{"epoch": 0, **dict.fromkeys(names, float("nan"))}])
    assert [path.name for path in curves.draw_curves(tmp_path / "m.csv", tmp_path, "")] == [
        "loss.png",
        "accuracy.png",
        "metrics.png",
    ]
