"""The card of a model: the sections of Hugging Face's, filled from its run folder; what nobody stated says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaos_seg.data.audit import counted
from chaos_seg.evaluation.metrics import heading
from chaos_seg.evaluation.statistics import mean_interval
from chaos_seg.reporting.comparison import SIDE_NAMES
from chaos_seg.reporting.page import render
from chaos_seg.reporting.runs import Run, scored_sides
from chaos_seg.reporting.tables import Column, Table

SHOWN = ("volume_dice", "slice_dice", "precision", "recall")
CHALLENGE = {"assd_mm": "ASSD, mm", "mssd_mm": "MSSD, mm", "score": "Score of the challenge"}
TRAINING = (
    *("loss.name", "optimizer.name", "scheduler.name", "learning_rate", "batch_size", "epochs", "image_size", "seed"),
    *("trainer.precision", "data.source.name", "data.split.name"),
)


@dataclass(frozen=True)
class Described:
    """What a card says of the model itself."""

    name: str
    network: Mapping[str, Any]
    parameters: int
    sha256: str  # of the checkpoint
    epoch: int
    threshold: float
    input: Sequence[str]  # how to make it from DICOM, a step each
    output: Sequence[str]  # what to do with it
    training_range: Mapping[str, Any] | None


def model_card(run: Run, model: Described, stated: Mapping[str, str | None], files: Mapping[str, str]) -> str:
    """The card as Markdown with Hugging Face's header.

    Args:
        stated: what a run can't know, by name; None is not stated.
        files: beside the card, and what each is.
    """
    sides = scored_sides([run])
    judged = next(side for side in ("test", "val", "train") if side in sides)
    audit = run.manifest["data"].get("audit")  # None of runs before there was one
    heard = ("device", "processes", "cpu_threads", "started", "git_commit")
    manifest = {**dict.fromkeys(heard), "versions": {}, "git_changed": False, "init": None, **run.manifest}
    return render(
        "model_card.md",
        model=model,
        stated=stated,
        files=files,
        synthetic=run.summary["synthetic"],
        manifest=manifest,
        counts={SIDE_NAMES[side]: len(run.patients(side)) for side in sides},
        audit=f"no errors, {counted(audit) or 'nothing else'}" if isinstance(audit, dict) else "not made",
        training={key: run.config[key] for key in TRAINING if key in run.config},
        augmentation=sorted({key.split(".")[1] for key in run.config if key.startswith("augmentation.")}),
        seconds=sum(float(row.get("train/seconds") or 0) for row in run.epochs),
        results=results_table(run),
        judged=SIDE_NAMES[judged].lower(),
        dice=results_table(run).rows[sides.index(judged) * (len(SHOWN) + len(CHALLENGE))],
        largest=run.summary["challenge"]["largest component"][judged]["dice"],
    )


def results_table(run: Run) -> Table:
    """Each side's scores: mean over patients with its interval."""
    rows: list[list[Any]] = []
    for side in scored_sides([run]):
        of_patients = [row.values for row in run.scores if row.side == side]
        challenge = [row.values for row in run.challenge if (row.side, row.masks) == (side, "as predicted")]
        columns = [
            *((heading(name), [values[name] for values in of_patients]) for name in SHOWN),
            *((title, [values[name] for values in challenge]) for name, title in CHALLENGE.items()),
        ]
        for title, values in columns:
            known = [value for value in values if np.isfinite(value)]
            found = mean_interval(known) if known else None
            low_high = f"{found.low:.3f} to {found.high:.3f}" if found and np.isfinite(found.low) else None
            rows.append([SIDE_NAMES[side], title, found and found.value, low_high, len(known)])
    titles = ("Side", "Metric", "Mean", "95 % interval", "Patients")
    note = (
        "Means over patients with BCa bootstrap intervals over patients, which are too narrow for few patients; below "
        "3 patients there is none. "
        + (
            "The checkpoint is of the last epoch."
            if run.config["best_by"] == "last"
            else "Checkpoints are chosen by the validation patients' volume Dice."
        )
    )
    return Table("results", "Results", [Column(title, 3 if title == "Mean" else None) for title in titles], rows, note)
