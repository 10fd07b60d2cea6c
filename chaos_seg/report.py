"""The report of a study, from its run folders alone: python -m chaos_seg.report outputs/study_demo

Writes <study>/report/report.html, one page that needs nothing else, and tables/*.csv and *.tex beside it.
"""

import argparse
from pathlib import Path

from chaos_seg.command_line import typed_path, typed_positive

parser = argparse.ArgumentParser(prog="python -m chaos_seg.report", description="The report of a study.")
parser.add_argument("study", type=typed_path, help="folder with the run folders of a study or a sweep")
parser.add_argument("--output", type=typed_path, help="folder of report.html and tables/ (default: STUDY/report)")
parser.add_argument(
    "--equal-within", type=typed_positive, metavar="DICE", help="a difference equal for practice (default: 0.005)"
)
if __name__ == "__main__":
    parser.parse_args()  # answers --help before the imports that take seconds


from chaos_seg.errors import UserError, one_sentence
from chaos_seg.evaluation.statistics import EQUAL_DICE
from chaos_seg.files import write_bytes
from chaos_seg.reporting.report_page import report
from chaos_seg.reporting.runs import read_runs
from chaos_seg.reporting.study_view import study_runs
from chaos_seg.reporting.tables import write_tables


def write_report(study: Path, output: Path, equal_within: float = EQUAL_DICE) -> Path:
    """Write the report of the finished runs in the folder `study`; returns the page.

    Raises:
        UserError: no finished run, or runs that can't be compared.
    """
    runs = study_runs(study)
    finished = [run for run, status in runs.items() if status == "finished"]
    if not finished:
        raise UserError(f"{study}: expected the folder of a study, found no finished run in it; name another.")
    unfinished = [run.name for run in runs if run not in finished]
    page, tables = report(study.resolve().name, read_runs(finished), unfinished, equal_within)
    write_tables(tables, output / "tables")
    write_bytes(output / "report.html", page.encode(errors="backslashreplace"))
    return output / "report.html"


def main() -> None:
    given = parser.parse_args()
    with one_sentence():
        output = given.output or given.study / "report"
        print(f"Report: {write_report(given.study, output, given.equal_within or EQUAL_DICE)}")


if __name__ == "__main__":
    main()
