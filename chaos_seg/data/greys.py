"""Greys of a whole scan: what MR, which has no unit, is measured and shown by."""

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from chaos_seg.data.scan import Scan

GREYS = 2**16  # of int16
PERCENTILES, AS_HU = (1, 99), (-100, 250)

_cumulated: WeakKeyDictionary[Scan, np.ndarray] = WeakKeyDictionary()  # how many pixels have at most each value


def percentiles(scan: Scan, of: Sequence[float]) -> np.ndarray:
    """Of all pixels of a scan, int64, for percentages `of`. The first time it is read as a whole."""
    if scan not in _cumulated:
        counts = np.zeros(GREYS, np.int64)
        for rank in range(scan.slices):
            counts += np.bincount(scan.hu(rank).ravel().astype(np.int32) + GREYS // 2, minlength=GREYS)
        _cumulated[scan] = np.cumsum(counts)
    cumulated = _cumulated[scan]
    return np.searchsorted(cumulated, np.asarray(of) / 100 * cumulated[-1]) - GREYS // 2


def as_ct(scan: Scan) -> Scan:
    """For pictures, and where masks fit: MR in_hu(); CT is as it is."""
    return scan if scan.modality == "CT" else in_hu(scan, PERCENTILES)


def in_hu(scan: Scan, between: Sequence[float]) -> Scan:
    """A scan with two percentiles of its greys as the HU AS_HU."""
    low, high = percentiles(scan, between).tolist()
    scale = (AS_HU[1] - AS_HU[0]) / max(high - low, 1)

    def read(rank: int) -> np.ndarray:
        hu = (scan.hu(rank) - float(low)) * scale + AS_HU[0]
        return np.clip(np.rint(hu), -GREYS // 2, GREYS // 2 - 1).astype(np.int16)

    return replace(scan, read=read)
