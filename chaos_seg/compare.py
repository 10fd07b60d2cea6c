"""Set finished runs side by side: python -m chaos_seg.compare outputs/demo/<time>/*/"""

import argparse
from pathlib import Path

from chaos_seg.command_line import typed_path, typed_positive

parser = argparse.ArgumentParser(prog="python -m chaos_seg.compare", description="Set finished runs side by side.")
parser.add_argument("runs", nargs="+", type=typed_path, help="run folders")
parser.add_argument(
    "--equal-within", type=typed_positive, metavar="DICE", help="a difference equal for practice (default: 0.005)"
)
if __name__ == "__main__":
    parser.parse_args()  # answers --help before the imports that take seconds

import textwrap

from chaos_seg.errors import UserError, one_sentence
from chaos_seg.evaluation.statistics import EQUAL_DICE
from chaos_seg.reporting.claims import pairs_table
from chaos_seg.reporting.comparison import SYNTHETIC, TWO_DICES, means_table, published_table
from chaos_seg.reporting.runs import read_runs, scored_sides
from chaos_seg.reporting.tables import WIDTH


def compare(folders: list[Path], equal_within: float = EQUAL_DICE) -> str:
    """The runs' averages, and what was compared pair by pair, from their folders alone.

    Raises:
        UserError: a folder without a finished run, or runs that were scored on different data.
    """
    # A sweep has multirun.yaml and its report beside its runs.
    runs = read_runs([path for path in folders if path.is_dir() and path.name != "report"])
    if not runs:
        raise UserError(f"{folders[0]}: expected the folders of runs, found none; name some.")
    last = scored_sides(runs)[-1]
    tables = [means_table(runs, metric) for metric in ("volume_dice", "slice_dice")]
    pairs, sentences = pairs_table(runs, last, "volume_dice", equal_within)
    parts = [table.as_text() for table in (*tables, published_table(runs), pairs) if table is not None]
    synthetic = any(run.summary["synthetic"] for run in runs)
    words = [textwrap.fill(sentence, WIDTH) for sentence in (*sentences, TWO_DICES)]
    return "\n\n".join([*([SYNTHETIC] if synthetic else []), *parts, *words])


def main() -> None:
    given = parser.parse_args()
    with one_sentence():
        print(compare(given.runs, given.equal_within or EQUAL_DICE))


if __name__ == "__main__":
    main()
