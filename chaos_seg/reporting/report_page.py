"""The report of a study: one page that stands beside the paper, and its tables as files, from the run folders alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from chaos_seg.errors import UserError
from chaos_seg.evaluation.masks import BRIDGE_MM, LARGEST_BY
from chaos_seg.evaluation.pairing import Paired
from chaos_seg.evaluation.scores import SURFACE_TOLERANCE_MM
from chaos_seg.evaluation.statistics import EQUAL_DICE, RESAMPLES
from chaos_seg.reporting import figures
from chaos_seg.reporting.calibration import calibration_figure, calibration_table
from chaos_seg.reporting.claims import guesses_table, pairs_table, placed_table, seeds_tables
from chaos_seg.reporting.comparison import (
    arm_column,
    challenge_table,
    means_table,
    metrics_table,
    published_table,
    study_tables,
)
from chaos_seg.reporting.deviations import deviations_table
from chaos_seg.reporting.page import data_uri, drawn, render
from chaos_seg.reporting.runs import Run, arm_words, by_arm, paired, scored_sides
from chaos_seg.reporting.tables import Column, Table
from chaos_seg.reporting.thresholds import threshold_table
from chaos_seg.run_folder import RunFolder

EXAMPLES = ("best", "median", "worst")


def report(
    name: str, runs: Sequence[Run], unfinished: Sequence[str], equal_within: float = EQUAL_DICE
) -> tuple[str, list[Table]]:
    """The page of a study, and its tables.

    Args:
        name: of the study.
        runs: the finished ones.
        unfinished: the names of the others.
        equal_within: the difference in Dice up to which arms are equal for practice.
    """
    arms = by_arm(runs)
    synthetic = any(run.summary["synthetic"] for run in runs)
    sides = scored_sides(runs)
    last = sides[-1]
    pairs, sentences = pairs_table(runs, last, "volume_dice", equal_within)
    try:
        shared = paired(runs, last, "volume_dice")
    except UserError:  # which the sentences say
        shared = None
    tables = _tables(runs, arms, pairs, shared, synthetic)
    page = render(
        "report.html",
        name=name,
        kind=dict(zip(("one", "many"), arm_words(arms), strict=True)),
        runs=runs,
        arms=arms,
        unfinished=unfinished,
        synthetic=synthetic,
        sides=sides,
        last=last,
        patients={side: len({p for run in runs for p in run.patients(side)}) for side in sides},
        tables=tables,
        sentences=sentences,
        pictures={key: drawn(figure) for key, figure in _figures(runs, arms, last, shared).items()},
        examples={arm: {kind: example(members, kind) for kind in EXAMPLES} for arm, members in arms.items()},
        same=common_facts(runs),
        resamples=RESAMPLES,
        tolerance_mm=SURFACE_TOLERANCE_MM,
        bridge_mm=BRIDGE_MM,
        other_rule=[run.folder.name for run in runs if run.summary.get("largest_by") != LARGEST_BY],
        without_surface=[run.folder.name for run in runs if all(np.isnan(row.hd95_mm) for row in run.challenge)],
    )
    return page, [table for listed in tables.values() for table in listed]


def _tables(
    runs: Sequence[Run], arms: figures.Arms, pairs: Table | None, shared: Paired | None, synthetic: bool
) -> dict[str, list[Table]]:
    """By the place on the page that they have."""
    published, calibration = published_table(runs), calibration_table(runs)
    guesses = guesses_table(runs, scored_sides(runs)[-1])
    scores = {arm: [row for run in members for row in run.scores] for arm, members in arms.items()}
    challenge = {arm: [row for run in members for row in run.challenge] for arm, members in arms.items()}
    slices = {row.patient: row.slices for run in runs for row in run.scores}
    return {
        "means": [means_table(runs, metric) for metric in ("volume_dice", "slice_dice")],
        "published": [published] if published else [],
        "pairs": [
            *([pairs] if pairs else []),
            *(seeds_tables(shared, scored_sides(runs)[-1], "volume_dice") if shared else []),
            *([placed_table()] if not synthetic else []),
        ],
        "patients": study_tables(scores, ("volume_dice", "slice_dice"), synthetic),
        "metrics": [metrics_table(runs)],
        "challenge": [challenge_table(challenge)],
        "guesses": [guesses] if guesses else [],
        "thresholds": [threshold_table(runs)],
        "calibration": [calibration] if calibration else [],
        "deviations": [deviations_table([run.config for run in runs], slices, synthetic)],
        "runs": [runs_table(runs)],
    }


def _figures(runs: Sequence[Run], arms: figures.Arms, last: str, shared: Paired | None) -> dict[str, Figure]:
    """By the place on the page that they have; those of one side alone are of `last`."""
    means = {"dice": "Dice, ", "precision": "precision, ", "recall": "recall, "}
    ranks = {"ranks": figures.rank_figure(shared.by_loss, last)} if shared and len(arms) > 1 else {}
    return ranks | {
        "volume_dice": figures.dice_figure(arms, "volume_dice", "Volume Dice"),
        "slice_dice": figures.dice_figure(arms, "slice_dice", "Slice-mean Dice"),
        "loss": figures.curve_figure(arms, {"loss": ""}, "Loss", "loss"),
        "accuracy": figures.curve_figure(arms, {"accuracy": ""}, "Binary accuracy", "accuracy"),
        "metrics": figures.curve_figure(arms, means, "Score, mean over patients", "dice"),
        "positions": figures.position_figure(arms, last, runs[0].summary["far_mm"]),
        "thresholds": figures.threshold_figure(arms, last),
        "calibration": calibration_figure(runs),
    }


def example(runs: Sequence[Run], kind: str) -> dict[str, Any] | None:
    """The best, median or worst slice of an arm: of the runs' own ones, which it is of, and its picture."""
    examples = sorted(
        ((run.summary["slices"][kind]["dice"], run.folder.name, run) for run in runs if kind in run.summary["slices"]),
        key=lambda one: one[:2],
    )
    if not examples:
        return None
    _, _, run = examples[{"best": -1, "median": len(examples) // 2, "worst": 0}[kind]]
    picture = RunFolder(run.folder).example(kind).read_bytes()
    return {"run": run.folder.name, "picture": data_uri(picture, "png"), **run.summary["slices"][kind]}


def runs_table(runs: Sequence[Run]) -> Table:
    """What each run was: its seed and fold, epochs and seconds."""
    rows = [
        [
            *(run.folder.name, run.arm, run.seed, run.config.get("data.split.fold")),
            *(len(run.epochs), run.summary["epoch"] + 1),
            sum(float(row["train/seconds"]) for row in run.epochs) / 60,
            *(run.manifest["device"], run.manifest["resumed"]),
        ]
        for run in runs
    ]
    titles = ("seed", "fold", "epochs", "scored epoch")
    columns = [Column("Run"), arm_column(by_arm(runs)), *map(Column, titles)]
    columns += [Column("training min", 1), Column("device"), Column("resumed")]
    return Table("runs", "Runs", columns, rows, "Training min: training steps alone, all epochs.")


def common_facts(runs: Sequence[Run]) -> Mapping[str, str]:
    """What the runs' manifests say: all the values that occur, most often one."""

    def distinct(values: Sequence[Any]) -> str:
        return "; ".join(dict.fromkeys(str(value) for value in values))

    manifests = [run.manifest for run in runs]
    commits = [
        f"{m['git_commit'] or 'an installed package'}{', with uncommitted changes' if m['git_changed'] else ''}"
        for m in manifests
    ]
    return {
        "Data": distinct([m["data"]["root"] for m in manifests]),
        "Data fingerprint": distinct([run.summary["data_fingerprint"] for run in runs]),
        "Audit of the data": distinct([_audit(m["data"]["audit"]) for m in manifests]),
        "Commit": distinct(commits),
        "CPU threads": distinct([m["cpu_threads"] for m in manifests]),
        "Versions": distinct(
            [", ".join(f"{name} {number}" for name, number in m["versions"].items()) for m in manifests]
        ),
    }


def _audit(counts: Mapping[str, int] | str) -> str:
    if isinstance(counts, str):
        return counts
    return "no error" + "".join(f", {n} {level}{'s' if n > 1 else ''}" for level, n in counts.items())
