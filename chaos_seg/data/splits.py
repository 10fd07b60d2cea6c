"""Which patients train, validate and test. Always whole patients: slices of one patient on two sides are a leak."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chaos_seg.errors import UserError
from chaos_seg.registry import SPLITS

SIDES = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Patient ids by side.

    Raises:
        UserError: a patient stands twice, or train or val is empty.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        everyone = self.patients
        twice = sorted({patient for patient in everyone if everyone.count(patient) > 1})
        if twice:
            places = [f"{p} ({', '.join(side for side in SIDES for q in self[side] if q == p)})" for p in twice]
            raise UserError(
                f"The split names patient {'; '.join(places)} more than once: a patient on two sides is a leak; "
                "keep each on one side only."
            )
        for side in ("train", "val"):
            if not self[side]:
                raise UserError(f"The split has no {side} patient; give at least one in data.split.{side}.")

    def __getitem__(self, side: str) -> tuple[str, ...]:
        patients: tuple[str, ...] = getattr(self, side)
        return patients

    @property
    def sides(self) -> dict[str, str]:
        """The side of each patient."""
        return {patient: side for side in SIDES for patient in self[side]}

    @property
    def patients(self) -> tuple[str, ...]:
        return self.train + self.val + self.test


@SPLITS.register("lists")
def listed_split(patients: Sequence[str], train: list[str], val: list[str], test: list[str]) -> Split:
    """By name, whatever patients there are."""
    return Split(tuple(train), tuple(val), tuple(test))


@SPLITS.register("seeded")
def seeded_split(patients: Sequence[str], val_patients: int, test_patients: int, seed: int) -> Split:
    """Validation and test patients drawn at random, the rest trains; the same for the same patients and seed."""
    for key, number in (("val_patients", val_patients), ("test_patients", test_patients)):
        if number < 0:
            raise UserError(f"data.split.{key}={number}: expected 0 or more.")
    val, test = val_patients, test_patients
    if val + test >= len(patients):
        raise UserError(
            f"data.split: {val} validation and {test} test patients leave none of the {len(patients)} patients "
            "for training; ask for fewer."
        )
    drawn = _shuffled(patients, seed)
    return Split(tuple(drawn[val + test :]), tuple(drawn[:val]), tuple(drawn[val : val + test]))


@SPLITS.register("kfold")
def k_fold_split(patients: Sequence[str], folds: int, fold: int, seed: int) -> Split:
    """Fold `fold` of `folds` tests, the next one validates, the rest train: every patient is tested exactly once."""
    if not 3 <= folds <= len(patients):
        raise UserError(
            f"data.split.folds={folds}: expected 3 to {len(patients)}, the number of patients: one fold tests, one "
            "validates, the rest train."
        )
    if not 0 <= fold < folds:
        raise UserError(f"data.split.fold={fold}: expected 0 to {folds - 1}.")
    drawn = _shuffled(patients, seed)
    parts = [tuple(drawn[k::folds]) for k in range(folds)]
    test, val = fold, (fold + 1) % folds
    train = tuple(p for k, part in enumerate(parts) if k not in (test, val) for p in part)
    return Split(train, parts[val], parts[test])


def _shuffled(patients: Sequence[str], seed: int) -> list[str]:
    if seed < 0:
        raise UserError(f"data.split.seed={seed}: expected a number from 0.")
    return [str(patient) for patient in np.random.default_rng(seed).permutation(sorted(patients))]
