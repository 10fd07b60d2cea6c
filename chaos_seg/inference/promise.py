"""The Dice that a new scan may have, by those that the models' own runs held out."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chaos_seg.evaluation.conformal import promised
from chaos_seg.evaluation.masks import LARGEST_BY
from chaos_seg.files import read_csv, read_json
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.shared import HELD_OUT, is_shared, read_shared


def held_out(
    checkpoints: Sequence[str | Path],
    threshold: float,
    postprocess: Mapping[str, bool],
    views: Sequence[Sequence[float]],
) -> list[list[float]]:
    """Guessed and true Dice of each patient that the run of one of the checkpoints held out, means over runs; none
    where a run has no scores, or not of this checkpoint or of masks that are made like these, and of several shared
    models, whose patients have numbers that don't tell which are the same.
    """
    if postprocess["fill_holes"] or views != [[0, 1]]:
        return []
    masks = "largest component" if postprocess["largest_component"] else "as predicted"
    pairs: dict[str, list[list[float]]] = {}
    if shared := [path for path in map(Path, checkpoints) if is_shared(path)]:
        tables = [_of_shared(path) for path in shared if len(checkpoints) == 1]
    else:
        runs = {RunFolder.of_checkpoint(path): Path(path).name for path in checkpoints}
        tables = [
            read_csv(run.held_out)
            for run, name in runs.items()
            if run.held_out.is_file() and read_json(run.summary)["checkpoint"] == name
        ]
    for table in tables:
        for row in table:
            pair = [float(row["guess"]), float(row["dice"])]
            alike = float(row["threshold"]) == threshold and row["masks"] == masks
            if postprocess["largest_component"]:
                alike &= row.get("largest_by") == LARGEST_BY
            if alike and np.isfinite(pair).all():
                pairs.setdefault(row["patient"], []).append(pair)
    return [np.mean(of_patient, axis=0).tolist() for of_patient in pairs.values()]


def _of_shared(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_shared(path).get(HELD_OUT, b"").decode())))


def told(guess: float, pairs: Sequence[Sequence[float]], alike: bool) -> Mapping[str, Any]:
    """What summary.json says of a scan's Dice; `alike`: nothing says that the scan is unlike the training data."""
    if not np.isfinite(guess):
        return {}
    promise = promised(guess, pairs)
    words = f"Dice about {guess:.2f}, guessed without a true mask"
    if promise is None:
        return {"guess": guess, "words": f"{words}; no interval: fewer than four scans were held out alike"}
    words += f"; {promise.low:.2f} to {promise.high:.2f} for {100 * promise.level:.0f} % of scans like the "
    words += f"{len(pairs)} held out"
    words += (
        ", if it is of their scanners and phases"
        if alike
        else ", but it is unlike them: the interval does not hold here"
    )
    return {**vars(promise), "alike": alike, "words": words}
