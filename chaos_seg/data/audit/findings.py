"""What the audit says of patients: a finding, and how its sentence lists slices and numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing about a patient, or about two: evidence and what to do, in a sentence."""

    level: str  # one of LEVELS
    code: str
    patients: tuple[str, ...]
    text: str

    @property
    def patient(self) -> str:
        return ", ".join(self.patients)


def named_slices(ranks: Sequence[int], n: int) -> str:
    """`slices 3 to 5 and 9 of 78`, counted from 1 as InstanceNumber is."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    parts = [f"{a + 1}" if a == b else f"{a + 1} to {b + 1}" for a, b in runs[:5]]
    more = f" and {len(runs) - 5} more stretches" if len(runs) > 5 else ""
    return f"slice{'s' * (len(ranks) > 1)} {', '.join(parts)}{more} of {n}"


def row(values: Iterable[float]) -> str:
    """`(0.74, 0.74)`, as an attribute of several values."""
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
