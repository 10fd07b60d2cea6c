"""Copies of slices, of which a series takes one, and the hash that tells what files hold apart."""

import hashlib
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from chaos_seg.data.dicom import read_slice
from chaos_seg.data.slices import SAME_MM, LeftOut, Slice
from chaos_seg.errors import UserError


def without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[LeftOut]]:
    """A copy is the same instance at the same place with the same content."""
    kept: dict[Hashable, list[Slice]] = {}
    copies = []
    for item in slices:
        key = item.instance, *np.rint(item.position_mm / SAME_MM).tolist()
        if any(_is_copy(item, other) for other in kept.get(key, [])):
            copies.append(LeftOut(item.path, "a copy of a slice that is there"))
        else:
            kept.setdefault(key, []).append(item)
    return [item for group in kept.values() for item in group], copies


def _is_copy(item: Slice, other: Slice) -> bool:
    """Of two slices of one instance at one place."""
    if not item.same_geometry(other):
        return False
    if content_hash(item.path) == content_hash(other.path):
        return True
    if not item.instance:
        return False
    try:
        a, b = (read_slice(one.path, one.modality)[1] for one in (item, other))
        return np.array_equal(a, b)
    except (UserError, OSError):
        return False


def content_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
