"""Finished runs read back from their folders, and what they are called when they stand side by side."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from chaos_seg.data.splits import SIDES
from chaos_seg.errors import UserError
from chaos_seg.evaluation.calibration import LEVELS
from chaos_seg.evaluation.pairing import Paired, Score, per_patient
from chaos_seg.evaluation.scores import ChallengeScore, PatientScore
from chaos_seg.evaluation.temperature import BINS, LOGITS
from chaos_seg.files import read_csv, read_json
from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import complete_settings, flat, is_incidental

T = TypeVar("T", PatientScore, ChallengeScore)

# Runs that differ in these alone repeat one experiment.
REPEATS = ("seed", "data.split.fold")
_TOLD = "?"  # no value's repr()
MANY = 4  # different experiments beside each other
# What scores on the same data don't depend on, beside what is incidental.
_NO_ARM = ("data.audit", "trainer.strategy", "trainer.deterministic")


@dataclass(frozen=True)
class Run:
    """A finished run. `arm` is what it is compared as: its loss, and the settings in which runs differ besides."""

    folder: Path
    arm: str
    config: Mapping[str, Any]  # config.yaml, {"data.split.fold": 0, ...}
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    scores: Sequence[PatientScore]
    challenge: Sequence[ChallengeScore]

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def fold(self) -> int:
        return int(self.config.get("data.split.fold") or 0)

    @cached_property
    def epochs(self) -> list[dict[str, str]]:
        """The rows of metrics.csv."""
        return read_csv(RunFolder(self.folder).metrics)

    @cached_property
    def slices(self) -> dict[str, list[dict[str, str]]]:
        """The rows of per_slice.csv of each patient."""
        rows_of: dict[str, list[dict[str, str]]] = {}
        for row in read_csv(RunFolder(self.folder).per_slice):
            rows_of.setdefault(row["patient"], []).append(row)
        return rows_of

    @cached_property
    def levels(self) -> dict[str, np.ndarray]:
        """count_levels() of each patient, int64 (2, 256)."""
        levels_of: dict[str, np.ndarray] = {}
        for row in read_csv(RunFolder(self.folder).calibration):
            counts = levels_of.setdefault(row["patient"], np.zeros((2, LEVELS), np.int64))
            counts[:, int(row["level"])] = int(row["other"]), int(row["liver"])
        return levels_of

    @cached_property
    def logits(self) -> dict[str, np.ndarray]:
        """count_logits() of each patient with liver, int64 (2, BINS); none of a run that did not count them."""
        path, logits_of = RunFolder(self.folder).reliability, dict[str, np.ndarray]()
        for row in read_csv(path) if path.exists() else ():
            counts = logits_of.setdefault(row["patient"], np.zeros((2, BINS), np.int64))
            counts[:, np.searchsorted(LOGITS, float(row["logit"]))] = int(row["other"]), int(row["liver"])
        return logits_of

    @property
    def temperature(self) -> float | None:
        """Fitted on its validation patients; None where they have no liver, or when it was not counted."""
        fitted: float | None = self.summary.get("temperature")
        return fitted

    @cached_property
    def guesses(self) -> list[dict[str, str]]:
        """The rows of held_out.csv for masks as predicted; none of a run that was scored before there was one."""
        held_out = RunFolder(self.folder).held_out
        rows = read_csv(held_out) if held_out.is_file() else []
        return [row for row in rows if row["masks"] == "as predicted"]

    def patients(self, side: str) -> list[str]:
        """The patients of one side."""
        return [row.patient for row in self.scores if row.side == side]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in `folders`, in this order.

    Raises:
        UserError: a folder without a finished run, one of an older layout, or runs on different data.
    """
    configs, summaries, manifests = [], [], []
    for folder in folders:
        run = RunFolder(folder)
        needed = (run.summary, run.config, run.manifest_file, run.per_patient, run.challenge, run.metrics)
        if missing := [file.name for file in needed if not file.is_file()]:
            raise UserError(f"{folder}: expected a finished run, found no {missing[0]}; train or evaluate it first.")
        config = flat(_with_defaults(run.settings()))
        summaries.append(read_json(run.summary))
        manifests.append(run.manifest())
        # How many, not which: a list and "auto" don't say.
        devices = manifests[-1].get("processes", config["trainer.devices"])
        configs.append({**config, "trainer.devices": devices, "init": run.init_hash and run.init_hash[:12]})
    if len({summary["data_fingerprint"] for summary in summaries}) > 1:
        raise UserError(
            f"{', '.join(folder.name for folder in folders)}: expected runs on the same data, found several data "
            "fingerprints in their summary.json; compare runs of the same patients only."
        )
    return [
        Run(
            folder=folder,
            arm=arm,
            config=config,
            manifest=manifest,
            summary=summary,
            scores=_patient_scores(RunFolder(folder).per_patient),
            challenge=_read(ChallengeScore, read_csv(RunFolder(folder).challenge), RunFolder(folder).challenge),
        )
        for folder, arm, config, summary, manifest in zip(
            folders, arm_names(configs), configs, summaries, manifests, strict=True
        )
    ]


def _with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """With options that came after the run at their default; as they are when a slot has no such entry here."""
    try:
        return complete_settings(settings)
    except UserError:
        return settings


def arm_names(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each config is called beside the others: the name of its loss, the names of other slots' entries that
    differ, KEY=VALUE of what differs besides, and "without" a step of the augmentation.

    Seed and fold only repeat an experiment; an entry's options are told when they differ among those of its name. Among
    MANY and more what most of them have is not told.
    """

    def differ(key: str) -> bool:
        slot = f"{key.split('.')[0]}.name"
        groups: dict[Any, set[str]] = {}
        for config in configs:
            group = config.get(slot) if key != slot else None
            groups.setdefault(group, set()).add(repr(config.get(key)))
        return any(len(values) > 1 for values in groups.values())

    keys = [
        key
        for key in dict.fromkeys(key for config in configs for key in config)
        if key not in (*_NO_ARM, *REPEATS, "loss.name") and not is_incidental(key) and differ(key)
    ]
    usual = _usual(configs, keys)
    names = [key for key in keys if key.endswith(".name") and not key.startswith("data.")]
    arms = []
    for config in configs:
        told = [key for key in keys if key in config and usual.get(key, _TOLD) != repr(config[key])]
        gone = [key for key in keys if key.startswith("augmentation.") and key in usual and key not in config]
        steps = ", ".join(dict.fromkeys(key.split(".")[1] for key in gone))
        parts = [str(config[key]) for key in names if key in told]
        parts += [f"{key}={config[key]}" for key in told if key not in names]
        arms.append(", ".join([config["loss.name"], *parts, *([f"without {steps}"] if steps else [])]))
    return arms


def arm_words(arms: Iterable[str]) -> tuple[str, str]:
    """What arms are called, one and many: losses where their names alone tell them apart, else models."""
    return ("model", "models") if any(", " in arm for arm in arms) else ("loss", "losses")


def _usual(configs: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, str]:
    """Of keys the value that more than half of MANY different configs have."""
    different = {tuple(repr(config.get(key, _TOLD)) for key in ("loss.name", *keys)) for config in configs}
    if len(different) < MANY:
        return {}
    counted = {
        key: Counter(values).most_common(1)[0]
        for key, *values in zip(keys, *(row[1:] for row in different), strict=True)
    }
    return {
        key: value for key, (value, count) in counted.items() if 2 * count > len(different) and value != repr(_TOLD)
    }


def scored_sides(runs: Sequence[Run]) -> list[str]:
    """The sides with patients, in the order train, val, test."""
    return [side for side in SIDES if any(run.patients(side) for run in runs)]


def by_arm(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each arm, arms in the order in which they first appear."""
    return {arm: [run for run in runs if run.arm == arm] for arm in dict.fromkeys(run.arm for run in runs)}


def unbalanced(runs: Sequence[Run]) -> bool:
    """Whether arms were scored on different patients, seeds or folds."""
    scored = [
        {(run.seed, run.fold, row.patient, row.side) for run in members for row in run.scores}
        for members in by_arm(runs).values()
    ]
    return any(one != scored[0] for one in scored)


def paired(runs: Sequence[Run], side: str, metric: str) -> Paired:
    """A field of PatientScore of the patients of one side, patient by patient under every arm; see per_patient.

    Raises:
        UserError: arms with other seeds, folds or patients, or nothing to compare.
    """
    return per_patient(
        Score(run.arm, run.seed, run.fold, row.patient, row.values.get(metric, np.nan))
        for run in runs
        for row in run.scores
        if row.side == side
    )


def _patient_scores(path: Path) -> list[PatientScore]:
    """per_patient.csv; every column that is none of the others is a metric's."""
    rows = read_csv(path)
    scores = _read(PatientScore, rows, path)
    fixed = {*(field.name for field in fields(PatientScore)), "synthetic"}
    return [
        replace(score, values={name: float(value) for name, value in row.items() if name not in fixed})
        for score, row in zip(scores, rows, strict=True)
    ]


def _read(kind: type[T], rows: Sequence[Mapping[str, str]], path: Path) -> list[T]:
    """Rows of a table as what wrote it; other columns are left out."""
    types: dict[str, Any] = {field.name: field.type for field in fields(kind) if field.name != "values"}
    if rows and (missing := types.keys() - rows[0].keys()):
        raise UserError(
            f"{path}: expected the column {sorted(missing)[0]}, found none: another version wrote it; score the run "
            "again with python -m chaos_seg.evaluate run=..."
        )
    return [kind(**{name: as_type(row[name]) for name, as_type in types.items()}) for row in rows]
