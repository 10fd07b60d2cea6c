"""Names of scans: where each lies below the input, and a folder of its own in the output."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

MAX_NAME = 100  # bytes
RESERVED = "summary.json"  # of the output folder, beside the scans'


def name_below(path: Path, place: Path) -> str:
    """A name for what lies at `path` below the folder `place`."""
    parts = path.relative_to(place).parts if place.is_dir() and path != place else (path.name,)
    return "_".join(parts) or "scan"


def folder_names(names: Sequence[str]) -> list[str]:
    """For each a name of its own that a folder can have; a number goes behind one that came before, and gives none
    that another has by itself.
    """
    own, given = [_printable(name) for name in names], list[str]()
    for place, name in enumerate(own):
        given.append(_free(name, given if name not in own[:place] else [*given, *own]))
    return given


def folder_name(name: str, taken: Sequence[str]) -> str:
    """`name`, printable, not hidden and not too long for a folder, and with a number where it is taken."""
    return _free(_printable(name), taken)


def _printable(name: str) -> str:
    printable = "".join(c if c.isprintable() and c != "/" else "_" for c in name).lstrip(".") or "scan"
    if len(printable.encode()) > MAX_NAME:
        cut = printable.encode()[: MAX_NAME - 9].decode(errors="ignore")
        printable = f"{cut}_{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"
    return printable


def _free(name: str, taken: Sequence[str]) -> str:
    return next(n for n in (name, *(f"{name}_{k}" for k in range(2, 100_000))) if n not in (*taken, RESERVED))
