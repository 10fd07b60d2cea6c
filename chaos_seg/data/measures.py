"""What the audit needs of a volume's pixels and masks, measured once and kept beside the volume as audit.json."""

import errno
import hashlib
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from scipy.spatial.distance import cdist

from chaos_seg.data.alignment import Alignment, Misfit, align
from chaos_seg.data.contrast import aorta_hu
from chaos_seg.data.greys import as_ct
from chaos_seg.data.store import StoredScan
from chaos_seg.files import read_json, write_json

VERSION = 6  # raise when the measures change
HISTOGRAM_HU = (-200, 400, 10)  # first edge, last edge, width of a bin; the outer bins take what lies beyond
FAT_HU = -150  # a CT has air or fat below it
BONE_HU = 240
MIN_NOISE_PX = 500
AORTA_SLICES = 40  # at most, evenly from those with liver
PADDING_HU = -1100  # below it is what the scanner did not measure


@dataclass(frozen=True)
class Measures:
    """What the rules need of a volume's pixels, kept as audit.json."""

    version: int
    pixels: list[str]  # a hash of each slice's HU; "" when all its pixels are the same
    order_ratio: list[float]  # of each slice: how much nearer its neighbours would be were it exchanged or elsewhere
    cold_share: float  # of pixels below FAT_HU
    bright_rim: float  # share of the outermost pixels above BONE_HU
    liver_side: float | None  # of the mask's centre from the body's: negative is left in the picture, 1 is its width
    bone_side: float | None  # of bone from the body's centre: positive is down in the picture
    noise_hu: float | None  # standard deviation from pixel to pixel under the mask, median over slices
    aorta_hu: float | None  # of the blood in it; None of MR, where the back is not below, and where none is found
    histogram_under: list[int]  # pixels by HU under the mask, bins of HISTOGRAM_HU
    histogram_outside: list[int]
    alignment: Alignment | None  # None without masks


def measured(volume: StoredScan) -> Measures:
    """The measures of a volume, from the store when they are there."""
    path = volume.folder / "audit.json"
    try:
        kept = read_json(path)
        if kept["version"] == VERSION:
            if kept["alignment"] is not None:
                misfits = kept["alignment"]["misfits"]
                kept["alignment"]["misfits"] = [Misfit(**one | {"gain": _number(one["gain"])}) for one in misfits]
                kept["alignment"]["beyond"] = {int(k): share for k, share in kept["alignment"]["beyond"].items()}
                kept["alignment"] = Alignment(**kept["alignment"])
            return Measures(**kept)
    except (OSError, ValueError, KeyError, TypeError):  # not measured yet, or a damaged note
        pass
    measures = _measure(volume)
    try:
        write_json(path, asdict(measures))
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):  # a store that may only be read serves too
            raise
    return measures


def _number(kept: float | None) -> float:
    return float("nan") if kept is None else kept  # JSON has no NaN


def _measure(stored: StoredScan) -> Measures:
    volume = as_ct(stored)
    edges = np.arange(HISTOGRAM_HU[0], HISTOGRAM_HU[1] + 1, HISTOGRAM_HU[2])
    under, outside = np.zeros(len(edges) - 1, int), np.zeros(len(edges) - 1, int)
    pixels, small, cold, bright = [], [], 0, []
    sides: list[tuple[float, float]] = []
    noise = []
    masks = [volume.mask(rank) for rank in range(volume.slices)] if volume.liver_pixels is not None else []
    for rank in range(volume.slices):
        hu = volume.hu(rank)
        pixels.append("" if hu.min() == hu.max() else hashlib.sha256(hu.data).hexdigest()[:32])
        small.append(cv2.resize(np.clip(hu, -200, 250).astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA))
        cold += int(np.count_nonzero((hu < FAT_HU) & (hu >= PADDING_HU)))
        bright.append(np.mean(np.concatenate([hu[[0, -1]].ravel(), hu[:, [0, -1]].ravel()]) > BONE_HU))
        bins = np.clip((hu.astype(np.int32) - HISTOGRAM_HU[0]) // HISTOGRAM_HU[2], 0, len(under) - 1)
        everywhere = np.bincount(bins.ravel(), minlength=len(under))
        liver = masks[rank] > 0 if masks else np.zeros(hu.shape, bool)
        sides.append(_sides(hu, liver))
        if masks:
            noise += _noise(hu, liver)
            there = np.bincount(bins[liver], minlength=len(under))
            under += there
            everywhere -= there
        outside += everywhere
    alignment = align((volume.hu(rank) for rank in range(volume.slices)), masks) if masks else None
    liver_side, bone_side = (_mean(column) for column in np.array(sides).T)
    return Measures(
        version=VERSION,
        pixels=pixels,
        order_ratio=_order_ratio(small, [not digest for digest in pixels]),
        cold_share=cold / int(np.prod(volume.shape)),
        bright_rim=round(float(np.mean(bright)), 3),
        liver_side=liver_side,
        bone_side=bone_side,
        noise_hu=round(float(np.median(noise)), 2) if noise else None,
        # Where bone does not lie below, the scan is turned or mirrored.
        aorta_hu=_aorta_hu(stored) if stored.modality == "CT" and (bone_side or 0) > 0 else None,
        histogram_under=under.tolist(),
        histogram_outside=outside.tolist(),
        alignment=alignment,
    )


def _sides(hu: np.ndarray, liver: np.ndarray) -> tuple[float, float]:
    """Where the mask's centre lies to the right and bone below the body's, in widths of the body; NaN when unknown."""
    body = cv2.morphologyEx((hu > FAT_HU).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)) > 0
    if not body.any():
        return float("nan"), float("nan")
    columns = np.flatnonzero(body.any(axis=0))
    width = columns[-1] - columns[0] + 1
    bone = body & (hu > BONE_HU)
    across = (_centre(liver, 1) - _centre(body, 1)) / width if liver.any() else float("nan")
    down = (_centre(bone, 0) - _centre(body, 0)) / width if np.count_nonzero(bone) > 0.001 * bone.size else float("nan")
    return across, down


def _noise(hu: np.ndarray, liver: np.ndarray) -> list[float]:
    """Standard deviation of a slice's noise, from the differences of pixels two apart in a row and both under the mask;
    nothing where the mask is small. It is the scaled median of their sizes, which edges of vessels hardly move.
    """
    apart = np.abs(np.subtract(hu[:, 2:], hu[:, :-2], dtype=np.float32))[liver[:, 2:] & liver[:, :-2]]
    return [1.4826 * float(np.median(apart)) / 2**0.5] if len(apart) >= MIN_NOISE_PX else []


def _aorta_hu(volume: StoredScan) -> float | None:
    ranks = np.flatnonzero(volume.meta.liver_pixels or [])
    chosen = ranks[np.unique(np.linspace(0, len(ranks) - 1, min(len(ranks), AORTA_SLICES)).astype(int))]
    return aorta_hu((volume.hu(int(rank)) for rank in chosen), float(np.mean(volume.meta.spacing_mm[1:])))


def _centre(mask: np.ndarray, axis: int) -> float:
    counts = np.count_nonzero(mask, axis=1 - axis)
    return float((counts * np.arange(len(counts))).sum() / counts.sum())


def _mean(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else round(float(np.nanmean(values)), 3)


def _order_ratio(small: list[np.ndarray], blank: list[bool]) -> list[float]:
    """How much less slices would differ from their neighbours in another order; above 1 is suspicious.

    Of two candidates the larger: slice k exchanged with k + 1, and slice k moved to the gap where it fits best, for
    which its neighbours have to fit each other, too. 0 beside a blank slice.
    """
    n = len(small)
    flat = np.stack(small).reshape(n, -1)
    differ = cdist(flat, flat, "cityblock") / flat.shape[1] + 1e-6
    ratios = []
    for k in range(n):
        now = exchanged = 0.0
        if 0 < k < n - 1:
            now, exchanged = differ[k - 1, k], differ[k - 1, k + 1]
        if k + 2 < n:
            now, exchanged = now + differ[k + 1, k + 2], exchanged + differ[k, k + 2]
        elsewhere = 0.0
        gaps = [j for j in range(n - 1) if k not in (j, j + 1)]
        if 0 < k < n - 1 and gaps:
            here = (differ[k - 1, k] + differ[k, k + 1]) / 2
            best = min((differ[k, j] + differ[k, j + 1]) / 2 for j in gaps)
            elsewhere = here / max(differ[k - 1, k + 1], best)
        near_blank = any(blank[max(0, k - 1) : k + 3])
        ratios.append(0.0 if near_blank else round(float(max(now / exchanged if exchanged else 0.0, elsewhere)), 3))
    return ratios
