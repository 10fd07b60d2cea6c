"""Set finished runs side by side: python -m chaos_seg.compare outputs/demo/<time>/*/"""

import argparse
import sys
from pathlib import Path
from typing import Any

from chaos_seg.errors import UserError
from chaos_seg.evaluation.tables import comparison_table
from chaos_seg.files import read_json


def compare(runs: list[Path]) -> str:
    """One table of the runs' averages, from their summary.json alone.

    Raises:
        UserError: a folder without summary.json, or runs that were scored on different data.
    """
    summaries: dict[str, dict[str, Any]] = {}
    for run in [path for path in runs if not path.is_file()]:  # a sweep's folder holds multirun.yaml beside its runs
        if not (run / "summary.json").is_file():
            raise UserError(f"{run}: expected a finished run, found no summary.json; train or evaluate it first.")
        summaries[str(run) if run.name in summaries else run.name] = read_json(run / "summary.json")
    if len({summary["data_fingerprint"] for summary in summaries.values()}) > 1:
        raise UserError(
            f"{', '.join(summaries)}: expected runs on the same data, found several data fingerprints in their "
            "summary.json; compare runs of the same patients only."
        )
    synthetic = any(summary["synthetic"] for summary in summaries.values())
    return comparison_table({name: summary["averages"] for name, summary in summaries.items()}, synthetic)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos_seg.compare", description="Set finished runs side by side.")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    try:
        print(compare(parser.parse_args().runs))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
