"""Finished runs read back from their folders, and what they are called when they stand side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from omegaconf import OmegaConf

from chaos_seg.data.splits import SIDES
from chaos_seg.errors import UserError
from chaos_seg.evaluation.calibration import LEVELS
from chaos_seg.evaluation.pairing import Paired, Score, per_patient
from chaos_seg.evaluation.scores import ChallengeScore, PatientScore
from chaos_seg.files import read_csv, read_json

T = TypeVar("T", PatientScore, ChallengeScore)

# Runs that differ in these alone repeat one experiment.
REPEATS = ("seed", "data.split.fold")
# What no experiment depends on.
INCIDENTAL = (
    *("name", "num_workers", "overlay_every_epochs", "ckpt_path"),
    *("data.root", "data.store", "trainer.accelerator"),
)
# What scores on the same data don't depend on.
_NO_ARM = (*INCIDENTAL, "data.audit", "trainer.strategy", "trainer.deterministic")


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
        return read_csv(self.folder / "metrics.csv")

    @cached_property
    def slices(self) -> dict[str, list[dict[str, str]]]:
        """The rows of per_slice.csv of each patient."""
        found: dict[str, list[dict[str, str]]] = {}
        for row in read_csv(self.folder / "per_slice.csv"):
            found.setdefault(row["patient"], []).append(row)
        return found

    @cached_property
    def levels(self) -> dict[str, np.ndarray]:
        """count_levels() of each patient, int64 (2, 256)."""
        found: dict[str, np.ndarray] = {}
        for row in read_csv(self.folder / "calibration.csv"):
            counts = found.setdefault(row["patient"], np.zeros((2, LEVELS), np.int64))
            counts[:, int(row["level"])] = int(row["other"]), int(row["liver"])
        return found

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
        needed = ("summary.json", "config.yaml", "manifest.json", "per_patient.csv", "challenge.csv", "metrics.csv")
        if missing := [name for name in needed if not (folder / name).is_file()]:
            raise UserError(f"{folder}: expected a finished run, found no {missing[0]}; train or evaluate it first.")
        config = flat(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True))
        summaries.append(read_json(folder / "summary.json"))
        manifests.append(read_json(folder / "manifest.json"))
        # How many, not which: a list and "auto" don't say.
        configs.append({**config, "trainer.devices": manifests[-1].get("processes", config["trainer.devices"])})
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
            scores=_read(PatientScore, folder / "per_patient.csv"),
            challenge=_read(ChallengeScore, folder / "challenge.csv"),
        )
        for folder, arm, config, summary, manifest in zip(
            folders, arm_names(configs), configs, summaries, manifests, strict=True
        )
    ]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, item in value.items() for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}


def arm_names(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name of the loss of each config, and KEY=VALUE of what differs between them besides.

    Seed and fold only repeat an experiment; a loss's options are told when they differ within that loss.
    """

    def differ(key: str) -> bool:
        groups: dict[Any, set[str]] = {}
        for config in configs:
            group = config["loss.name"] if key.startswith("loss.") else None
            groups.setdefault(group, set()).add(repr(config.get(key)))
        return any(len(values) > 1 for values in groups.values())

    keys = [
        key
        for key in dict.fromkeys(key for config in configs for key in config)
        if key not in (*_NO_ARM, *REPEATS, "loss.name") and differ(key)
    ]
    return [
        ", ".join([config["loss.name"], *(f"{key}={config[key]}" for key in keys if key in config)])
        for config in configs
    ]


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
        Score(run.arm, run.seed, run.fold, row.patient, getattr(row, metric))
        for run in runs
        for row in run.scores
        if row.side == side
    )


def _read(kind: type[T], path: Path) -> list[T]:
    """Rows of a table as what wrote it; other columns are left out."""
    told: dict[str, Any] = {field.name: field.type for field in fields(kind)}  # str, int or float
    rows = read_csv(path)
    if rows and (missing := told.keys() - rows[0].keys()):
        raise UserError(
            f"{path}: expected the column {sorted(missing)[0]}, found none: another version wrote it; score the run "
            "again with python -m chaos_seg.evaluate run=..."
        )
    return [kind(**{name: as_type(row[name]) for name, as_type in told.items()}) for row in rows]
