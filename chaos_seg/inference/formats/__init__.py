"""Masks in the formats of other tools. Never a model, a score or a run folder.

A format is a function `(scan) -> Writer`, registered in FORMATS in a module here: it looks at a scan before anything is
predicted, and raises UserError where it can't hold its mask.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.registry import FORMATS

BY_DEFAULT = ("png", "nifti", "dicom_seg")


@dataclass(frozen=True)
class Levels:
    """Probabilities as whole numbers, 0 to `highest`; `calibrated` by the temperatures of the models."""

    highest: int
    calibrated: bool


@dataclass(frozen=True)
class Writer:
    """A format made ready for one scan, and what to know of it."""

    write: Callable[[Sequence[np.ndarray], Path], None]  # a mask, slices of bool (rows, columns), into a folder
    notes: Sequence[str] = ()
    levels: Levels | None = None  # what it writes in place of the mask: slices of these, uint16


def changed_options(
    names: Sequence[str] | None, given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]] | None:
    """What of `given`, {format: options}, is other than by default for the formats of a command; None for nothing.

    Raises:
        UserError: a format or an option that there is not, or a format whose package is not installed.
    """
    if unknown := sorted(given.keys() - set(FORMATS.names())):
        raise UserError(f"format.{unknown[0]}: expected one of {', '.join(FORMATS.names())}.")
    changed = {}
    for name in names or [name for name in BY_DEFAULT if FORMATS.installed(name)]:
        default = FORMATS.complete({"name": name})
        options = FORMATS.complete({"name": name, **given.get(name, {})})
        if json.dumps(options) != json.dumps(default):  # in which a tuple is a list
            changed[name] = {key: value for key, value in options.items() if key != "name"}
    return changed or None


def writers_for(
    scan: Scan, names: Sequence[str] | None, options: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[dict[str, Writer], dict[str, str]]:
    """The writers of those formats that can hold a mask of `scan`, and why the others can't, both by name.

    None takes PNG, NIfTI and, of a DICOM scan, DICOM-SEG. `options` are of each format by its name.
    """
    writers, refused = {}, {}
    for name in names or [name for name in BY_DEFAULT if scan.is_dicom or name != "dicom_seg"]:
        try:
            writers[name] = FORMATS.build({"name": name, **(options or {}).get(name, {})}, scan)
        except UserError as error:
            refused[name] = str(error)
    return writers, refused
