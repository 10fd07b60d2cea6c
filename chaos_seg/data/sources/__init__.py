"""Where labelled scans come from, by name: a place to patients and their slices. Never a store, a split or a tensor.

A source is a function `(root, store, **options) -> Source`, registered in SOURCES: `root` is the user's folder or None,
`store` where it may write what it makes. A reader collects what is wrong as UserErrors and never stops at the first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from chaos_seg.data.dicom import SliceHeader
from chaos_seg.errors import UserError


class SliceFiles(Protocol):
    """One slice of CT and of its mask, where they lie; `path` and `mask_path` are named in faults."""

    @property
    def path(self) -> Path: ...
    @property
    def mask_path(self) -> Path | None: ...

    def read(self) -> tuple[SliceHeader, np.ndarray]:
        """Geometry, and int16 HU (rows, columns). Raises UserError."""

    def read_mask(self) -> tuple[str, np.ndarray]:
        """How it is encoded ("" of a PNG without liver), and uint8 {0, 1} (rows, columns). Raises UserError."""

    def mask_digest(self) -> bytes:
        """A hash of what the mask is made of."""


class Patient(Protocol):
    """A patient before it is decoded, which takes seconds; nothing of it has been read yet."""

    @property
    def patient(self) -> str: ...
    @property
    def place(self) -> Path:
        """A file or folder that is no other patient's."""

    @property
    def labelled(self) -> bool: ...
    @property
    def variant(self) -> str:
        """Settings by which the same files give other slices or masks; "" without any."""

    def files(self) -> list[Path]:
        """All that it is made of: a patient whose files have their names, sizes and times is not read again."""

    def slices(self) -> tuple[Sequence[SliceFiles], list[UserError]]:
        """In their order, and the faults that forbid to read them."""


def _any(encodings: set[str]) -> None:
    pass


@dataclass(frozen=True)
class Source:
    """The patients below `root` by id, in natural order.

    `expect` raises UserError for what can be wrong with the masks of all patients together, by how they are encoded.
    """

    root: Path
    patients: Mapping[str, Patient]
    expect: Callable[[set[str]], None] = _any

    @property
    def labelled(self) -> list[str]:
        """The patients with masks."""
        return [name for name, patient in self.patients.items() if patient.labelled]


def labelled_patients(source: Source, names: Sequence[str]) -> tuple[list[Patient], list[UserError]]:
    """The patients of these names, in that order, and faults: those that are not there, and each without masks."""
    faults: list[UserError] = []
    absent = [name for name in names if name not in source.patients]
    if absent:
        faults.append(
            UserError(
                f"{source.root}: the split names patient{'s' * (len(absent) > 1)} {', '.join(absent)}, but the tree "
                f"has {', '.join(source.patients)}; complete the tree, or divide what is there with data/split=seeded "
                "or data/split=kfold."
            )
        )
    there = [source.patients[name] for name in names if name in source.patients]
    faults += [
        UserError(
            f"{patient.place}: expected masks (CHAOS has them in Ground beside it), found none; take patient "
            f"{patient.patient} out of the split, since without masks it can't be trained or scored on."
        )
        for patient in there
        if not patient.labelled
    ]
    return [patient for patient in there if patient.labelled], faults
