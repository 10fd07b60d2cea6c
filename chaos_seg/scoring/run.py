"""The scores of a model on the patients of each side, with masks, tables and figures in a run folder."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from chaos_seg.data.greys import as_ct
from chaos_seg.data.scan import Scan
from chaos_seg.data.store import data_hash
from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.masks import LARGEST_BY
from chaos_seg.evaluation.scores import (
    ChallengeScore,
    PatientScore,
    as_rows,
    averages,
    challenge_averages,
    largest_fits,
)
from chaos_seg.evaluation.temperature import BINS, fitted_temperature
from chaos_seg.files import write_csv, write_json
from chaos_seg.inference.formats.png import write_png
from chaos_seg.inference.predictor import Predictor
from chaos_seg.reporting.comparison import run_tables
from chaos_seg.reporting.curves import draw_curves
from chaos_seg.reporting.overlays import draw_slice
from chaos_seg.run_folder import RunFolder
from chaos_seg.scoring.scan import FAR_MM, ScoredScan, score_scan

log = logging.getLogger(__name__)


def score_run(
    run: RunFolder,
    predictor: Predictor,
    checkpoint: tuple[str, int],
    sides: Mapping[str, Sequence[Scan]],
    output: RunFolder,
    threshold: float,
) -> dict[str, Any]:
    """Score a model of a run, whose checkpoint has this file name and epoch, and write all that a reader wants to
    `output`; returns summary.json's content.
    """
    scores, challenge, shown, temperature = score_sides(predictor, sides, output, threshold)
    volumes = [volume for side in sides.values() for volume in side]
    synthetic = any(volume.synthetic for volume in volumes)
    loss = predictor.models[0].settings["loss"]["name"]
    title = f"{loss} loss" + (", SYNTHETIC phantom" if synthetic else "")
    if run.metrics.exists():  # not those of a run whose patients another model predicts
        draw_curves(run.metrics, output.figures, title)
    examples = example_slices([row for scan in shown for row in scan.slice_rows()])
    scans = {scan.volume.name: scan for scan in shown}
    slices = {kind: _draw_example(kind, row, scans[row["patient"]], output, title) for kind, row in examples.items()}
    summary = {
        "loss": loss,
        "checkpoint": checkpoint[0],
        "epoch": checkpoint[1],
        "threshold": threshold,
        "temperature": temperature,
        "largest_component": largest_fits(challenge),
        "largest_by": LARGEST_BY,
        "synthetic": synthetic,
        "data_fingerprint": data_hash(volumes),
        "patients": len(scores),
        "averages": averages(scores),
        "challenge": challenge_averages(challenge),
        "far_mm": FAR_MM,
        "slices": slices,
    }
    write_json(output.summary, summary)
    log.info("\n%s\n", run_tables(loss, scores, challenge, synthetic))
    log.info("Run folder: %s", output.path)
    return summary


def score_sides(
    predictor: Predictor, sides: Mapping[str, Sequence[Scan]], output: RunFolder, threshold: float
) -> tuple[list[PatientScore], list[ChallengeScore], list[ScoredScan], float | None]:
    """Score the patients of each side. Writes predictions/, per_slice.csv, per_patient.csv, challenge.csv,
    calibration.csv, reliability.csv, held_out.csv and outlines.csv into `output`.

    Returns:
        Both scores of every patient, the scans of the side to take pictures of: test, or validation without any, and
        the temperature that validation patients give, None where they have no liver.
    """
    patients = [(volume, side) for side, volumes in sides.items() for volume in volumes]
    synthetic = any(volume.synthetic for volume, _ in patients)
    partial = output.path / ".predictions.partial"
    shutil.rmtree(partial, ignore_errors=True)
    scores: list[PatientScore] = []
    challenge: list[ChallengeScore] = []
    slices: list[dict[str, Any]] = []
    levels: list[dict[str, Any]] = []
    logits: list[dict[str, Any]] = []
    of_validation = np.zeros((2, BINS), np.int64)
    guesses: list[dict[str, Any]] = []
    outlines: list[dict[str, Any]] = []
    shown: list[ScoredScan] = []
    total = sum(volume.slices for volume, _ in patients)
    with logging_redirect_tqdm(), tqdm(total=total, desc="Scoring slices", disable=None) as bar:
        for number, (volume, side) in enumerate(patients, 1):
            log.info("Scoring patient %s (%s), %d of %d", volume.name, side, number, len(patients))
            scan = score_scan(volume, side, predictor, threshold, bar)
            log.info("  volume Dice %.3f; its surface distances follow", scan.score.values["volume_dice"])
            write_png(scan.case.predicted, partial / volume.name)
            scores.append(scan.score)
            both = scan.challenge()
            challenge += both
            slices += scan.slice_rows()
            levels += scan.level_rows()
            logits += scan.logit_rows()
            of_validation += scan.logits if side == "val" else 0
            if side != "train":
                guesses += scan.guess_rows(threshold, both)
                outlines += scan.outline_rows()
            shown += [scan] if side == ("test" if "test" in sides else "val") else []
    shutil.rmtree(output.predictions, ignore_errors=True)
    partial.rename(output.predictions)
    write_csv(output.per_slice, slices)
    write_csv(output.per_patient, as_rows(scores, synthetic))
    write_csv(output.calibration, levels)
    output.reliability.unlink(missing_ok=True)
    if logits:
        write_csv(output.reliability, logits)
    write_csv(output.held_out, guesses)
    write_csv(output.outlines, outlines)
    write_csv(output.challenge, [{**asdict(row), "synthetic": synthetic} for row in challenge])
    return scores, challenge, shown, fitted_temperature(of_validation)


def example_slices(slices: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The best, the median and the worst by Dice of the rows of per_slice.csv that have liver, if there are any.

    Of several as good, that with most liver.
    """
    counts = np.array([[row[field] for field in score.FIELDS] for row in slices]).reshape(-1, 4)
    liver, dice = counts[:, 0] + counts[:, 2], score.dice(counts)
    order = sorted(np.flatnonzero(liver).tolist(), key=lambda k: (dice[k], liver[k]))
    if not order:
        return {}
    worst = min(order, key=lambda k: (dice[k], -liver[k]))
    return {"best": slices[order[-1]], "median": slices[order[len(order) // 2]], "worst": slices[worst]}


def _draw_example(kind: str, row: Mapping[str, Any], scan: ScoredScan, output: RunFolder, title: str) -> dict[str, Any]:
    """Draw figures/slice_<kind>.png; returns which slice it is."""
    rank, volume = row["rank"], scan.volume
    dice = float(score.dice(np.array([row[field] for field in score.FIELDS])))
    place = f"Patient {volume.name} ({scan.side}), slice {rank + 1} of {volume.slices}"
    text = f"{title}: {kind} slice\n{place}: Dice {dice:.3f}"
    draw_slice(as_ct(volume), rank, scan.case.true[rank], scan.case.predicted[rank], text, output.example(kind))
    return {"patient": volume.name, "side": scan.side, "slice": rank + 1, "slices": volume.slices, "dice": dice}
