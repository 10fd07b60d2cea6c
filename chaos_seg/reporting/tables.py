"""A table once, for the terminal, a page, a spreadsheet and a paper."""

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos_seg.files import write_bytes

WIDTH = 120  # of words on a terminal


@dataclass(frozen=True)
class Column:
    """`decimals` of its numbers that are not whole ones; None for words."""

    title: str
    decimals: int | None = None


@dataclass(frozen=True)
class Table:
    """Cells are words, numbers or None; None and NaN are shown as a dash. `name` is that of its files."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def cells(self) -> list[list[str]]:
        """What is shown, row by row."""
        return [[_shown(v, column.decimals) for v, column in zip(row, self.columns, strict=True)] for row in self.rows]

    def is_number(self, place: int) -> bool:
        """Whether a column has numbers, which stand on the right."""
        return any(isinstance(row[place], int | float) for row in self.rows)

    def as_text(self) -> str:
        """For a terminal."""
        lines = [[column.title for column in self.columns], *self.cells()]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.columns))]
        right = [k > 0 and self.is_number(k) for k in range(len(widths))]
        body = [
            "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([self.caption, *body, *([textwrap.fill(self.note, WIDTH)] if self.note else [])])

    def as_csv(self) -> str:
        """Numbers with all their digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.title for column in self.columns])
        writer.writerows([["" if _is_missing(value) else value for value in row] for row in self.rows])
        return text.getvalue()

    def as_latex(self) -> str:
        """A table environment for a paper that loads booktabs."""
        wide = [k for k in range(len(self.columns)) if max((len(row[k]) for row in self.cells()), default=0) > 40]
        kinds = {k: rf"p{{{0.65 / len(wide):.2f}\linewidth}}" for k in wide}  # words that are broken into lines
        places = "".join(kinds.get(k, "r" if k and self.is_number(k) else "l") for k in range(len(self.columns)))
        head, *body = (
            " & ".join(map(_latex, line)) + r" \\"
            for line in [[column.title for column in self.columns], *self.cells()]
        )
        caption = f"{self.caption}. {self.note}" if self.note else f"{self.caption}."
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{_latex(caption)}}}\label{{tab:{self.name}}}",
                rf"\begin{{tabular}}{{{places}}}",
                rf"\toprule {head} \midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """<folder>/<name>.csv and <folder>/<name>.tex of each; those of an earlier report go."""
    names = {f"{table.name}.{kind}" for table in tables for kind in ("csv", "tex")}
    for path in folder.glob("*.*"):
        if path.suffix in (".csv", ".tex") and path.name not in names:
            path.unlink()
    for table in tables:
        write_bytes(folder / f"{table.name}.csv", table.as_csv().encode())
        write_bytes(folder / f"{table.name}.tex", table.as_latex().encode())


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _shown(value: Any, decimals: int | None) -> str:
    if _is_missing(value):
        return "–"
    if decimals is None or isinstance(value, str | int):
        return str(value)
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # no -0.000


_LATEX = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "°": r"$^\circ$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
