"""Which scores belong together: one value a patient and loss, the same patients and runs under every loss."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chaos_seg.errors import UserError


class Score(NamedTuple):
    """One patient's score in one run: tested once for each seed, fold and loss."""

    loss: str
    seed: int
    fold: int
    patient: str
    value: float


@dataclass(frozen=True)
class Paired:
    """The same `patients` under every loss: `by_loss` holds float64 (patients,), means over each patient's runs.

    `by_seed` holds float64 (seeds, patients), means over the folds of a seed; NaN where a seed did not score a patient.
    `left_out` names the patients without a defined score and the losses that gave none.
    """

    patients: tuple[str, ...]
    by_loss: dict[str, np.ndarray]
    by_seed: dict[str, np.ndarray]
    left_out: dict[str, tuple[str, ...]]


def per_patient(scores: Iterable[Score]) -> Paired:
    """Average each patient over its runs.

    A score that is not finite (Dice of two empty masks, a distance to an empty one) makes the patient's mean undefined,
    and the patient is left out of every loss: means and pairs then rest on the same patients. Its other runs do not
    stand in, and it is named, since a loss that finds no liver would gain by leaving the patient out unseen.

    Raises:
        UserError: no scores, a run scored twice, losses scored on different patients or runs, or nobody left.
    """
    runs: dict[str, dict[tuple[int, int, str], float]] = {}
    for loss, seed, fold, patient, value in scores:
        if (seed, fold, patient) in runs.setdefault(loss, {}):
            raise UserError(f"{loss}: {_run(seed, fold, patient)} is scored twice; keep one run of each.")
        runs[loss][seed, fold, patient] = value
    if not runs:
        raise UserError("Expected the scores of at least one run, found none; evaluate a run first.")
    every = sorted(set().union(*runs.values()))
    for loss, by_run in runs.items():
        if missing := [key for key in every if key not in by_run]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UserError(
                f"{loss}: expected the patients, seeds and folds of all that is compared ({', '.join(runs)}), found no "
                f"score for {_run(*missing[0])}{more}; scores are compared patient by patient, so finish those runs or "
                "leave them out of all."
            )
    patients = sorted({patient for _, _, patient in every}, key=lambda patient: (len(patient), patient))
    seeds = sorted({seed for seed, _, _ in every})
    by_seed = {
        loss: np.array([[_mean_of(by_run, seed, patient) for patient in patients] for seed in seeds])
        for loss, by_run in runs.items()
    }
    means = {
        loss: np.array([np.mean([by_run[key] for key in every if key[2] == patient]) for patient in patients])
        for loss, by_run in runs.items()
    }
    undefined = {p: tuple(loss for loss in runs if not np.isfinite(means[loss][k])) for k, p in enumerate(patients)}
    left_out = {patient: losses for patient, losses in undefined.items() if losses}
    if len(left_out) == len(patients):
        raise UserError("No patient has a defined score everywhere: nothing is left to compare.")
    keep = np.array([patient not in left_out for patient in patients])
    kept = tuple(patient for patient in patients if patient not in left_out)
    return Paired(
        kept,
        {loss: values[keep] for loss, values in means.items()},
        {loss: values[:, keep] for loss, values in by_seed.items()},
        left_out,
    )


def _mean_of(by_run: dict[tuple[int, int, str], float], seed: int, patient: str) -> float:
    values = [value for (s, _, p), value in by_run.items() if (s, p) == (seed, patient)]
    return float(np.mean(values)) if values else np.nan


def _run(seed: int, fold: int, patient: str) -> str:
    return f"patient {patient} (seed {seed}, fold {fold})"
