"""What became of every scan and file of an input: tables of the output folder, and the last words."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos_seg.data.appearance import Appearance, TrainingRange, drift
from chaos_seg.data.scans import Search
from chaos_seg.errors import UserError
from chaos_seg.files import read_csv, write_csv, write_json
from chaos_seg.inference.formats.measures import FILE
from chaos_seg.inference.outputs import Outcome
from chaos_seg.reporting.tables import Column, Table

log = logging.getLogger(__name__)


def say_left_out(search: Search) -> None:
    """Log why files of an input are in no scan."""
    for reason in search.reasons():
        log.warning("%s", reason)


def _summary_of(search: Search, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What became of every file below the input, for summary.json of the output folder."""
    done = {outcome.name: outcome for outcome in outcomes}
    scans = []
    for found in search.scans:
        outcome = done.get(found.name)
        status = "not chosen" if outcome is None else "predicted" if outcome.failure is None else "failed"
        rest = {} if outcome is None else {"failure": outcome.failure, "refused": outcome.refused, **outcome.summary}
        files = {"files": len(found.files), "first_file": next((path.name for path in found.files), None)}
        scans.append({"name": found.name, "about": found.about, "status": status, **files, **rest})
    left_out = [{"file": str(item.path), "reason": item.reason, "may_be_slices": item.lost} for item in search.left_out]
    return {
        "files_of_scans": sum(len(found.files) for found in search.scans),
        "files_left_out": len(left_out),
        "scans": scans,
        "left_out": left_out,
    }


def write_summaries(
    search: Search, outcomes: Sequence[Outcome], trained_on: Sequence[TrainingRange | None], output: Path
) -> None:
    """summary.json, and of the scans that were measured summary.csv; says how scans lie to the training data."""
    seen = [Appearance.read(one.summary["appearance"]) for one in outcomes if "appearance" in one.summary]
    rows = drift(seen, [one for one in trained_on if one is not None])
    write_json(output / "summary.json", {**_summary_of(search, outcomes), "drift": rows})
    if len(seen) > 1 and rows:
        log.info("\n%s\n", _drift_table(rows, len(seen)).as_text())
    files = {outcome.name: output / outcome.name / FILE for outcome in outcomes if outcome.failure is None}
    if rows := [{**row, "scan": name} for name, file in files.items() if file.exists() for row in read_csv(file)]:
        write_csv(output / "summary.csv", rows)


def _drift_table(rows: Sequence[Mapping[str, Any]], scans: int) -> Table:
    titles = ("", "training", f"these {scans} scans", "scans beyond")
    cells = [
        [row["what"], *("{:.4g} to {:.4g}".format(*row[key]) for key in ("training", "scans")), row["beyond"]]
        for row in rows
    ]
    return Table("drift", "Beside the training data, least to greatest", [Column(title) for title in titles], cells)


def closing_words(search: Search, outcomes: Sequence[Outcome], output: Path) -> None:
    """Say what was done, and how many files are in no scan.

    Raises:
        UserError: a scan without masks, a format refused, or a file left out that may hold slices.
    """
    failed = [outcome.name for outcome in outcomes if outcome.failure is not None]
    without = [outcome.name for outcome in outcomes if outcome.refused]
    lost = sum(item.lost for item in search.left_out)
    slices = sum(len(found.files) for found in search.scans)
    log.info("Files: %d are slices of scans, %d are left out.", slices, len(search.left_out))
    log.info("%d of %d scans in %s. Not a medical device.", len(outcomes) - len(failed), len(outcomes), output)
    wrong = [
        *([f"Not predicted: {', '.join(failed)}"] if failed else []),
        *([f"a format refused for: {', '.join(without)}"] if without else []),
        *([f"{lost} files or folders left out that may hold slices"] if lost else []),
    ]
    if wrong:
        where = f"see above, and {output / 'summary.json'}" if output.is_dir() else "see above"
        raise UserError(f"{'; '.join(wrong)}; {where}. What was done is kept.")
