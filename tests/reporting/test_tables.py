import csv
import math
from pathlib import Path

from chaos_seg.reporting.tables import Column, Table, write_tables

TABLE = Table(
    "scores",
    "Scores of 100 % of them",
    [Column("Loss"), Column("n"), Column("Dice", 3)],
    [["bce", 7, 0.91549], ["a_b & c", 12, math.nan], ["none", None, -1e-5]],
    "A note.",
)


def test_terminal_aligns_numbers_on_the_right() -> None:
    assert TABLE.as_text().splitlines() == [
        "Scores of 100 % of them",
        "Loss      n   Dice",
        "bce       7  0.915",
        "a_b & c  12      –",
        "none      –  0.000",
        "A note.",
    ]


def test_files_hold_all_digits_and_latex_is_escaped(tmp_path: Path) -> None:
    write_tables([TABLE], tmp_path)
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["Loss", "n", "Dice"],
            ["bce", "7", "0.91549"],
            ["a_b & c", "12", ""],
            ["none", "", "-1e-05"],
        ]
    latex = (tmp_path / "scores.tex").read_text()
    assert r"\caption{Scores of 100 \% of them. A note.}\label{tab:scores}" in latex
    assert r"\begin{tabular}{lrr}" in latex and r"a\_b \& c & 12 & -- \\" in latex
