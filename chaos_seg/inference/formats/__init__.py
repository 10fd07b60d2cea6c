"""Masks in the formats of other tools. Never a model, a score or a run folder.

A format is a function `(scan) -> Writer`, registered in FORMATS in a module here: it looks at a scan before anything is
predicted, and raises UserError where it can't hold its mask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.registry import FORMATS


@dataclass(frozen=True)
class Writer:
    """A format made ready for one scan, and what to know of it."""

    write: Callable[[Sequence[np.ndarray], Path], None]  # a mask, slices of bool (rows, columns), into a folder
    notes: Sequence[str] = ()


def writers_for(scan: Scan, names: Sequence[str] | None) -> tuple[dict[str, Writer], dict[str, str]]:
    """The writers of those formats that can hold a mask of `scan`, and why the others can't, both by name.

    None takes PNG, NIfTI and, of a DICOM scan, DICOM-SEG.
    """
    writers, refused = {}, {}
    for name in names or ("png", "nifti", *(["dicom_seg"] if scan.is_dicom else [])):
        try:
            writers[name] = FORMATS.build({"name": name}, scan)
        except UserError as error:
            refused[name] = str(error)
    return writers, refused
