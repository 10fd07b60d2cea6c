"""Which slice does each mask fit? Finds masks that are reversed, shifted, dropped, doubled, mirrored or turned.

The liver's border is an edge in the image, so the mean image gradient across a mask's border peaks on the slice that
the mask was drawn on and falls off on its neighbours. Every mask is tried on the slices around its own; the best path
of one shift a mask, where each change costs, is compared with no shift at all. Reversed order and mirrored masks are
tried on the patient as a whole. Where the masks end, the next slice should not look like liver in the same place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

MAX_SHIFT = 6  # slices in both directions
MIN_LIVER_SLICES = 4  # with fewer there is nothing to compare
FULL_BORDER_PX = 200  # a mask with a shorter border has less of a say
# Of a change of shift along the path, in units of one fitting mask: so dear that no sound scan is accused, so cheap
# that masks which fit elsewhere give themselves away when they are three.
CHANGE_COST, COST_PER_SLICE = 0.4, 0.1
MIN_GAIN = 1.12  # gradient of a stretch where it fits better / where it lies; a shift by one slice of 1 mm makes 1.2
MIN_GAIN_WHOLE = 1.1  # the same for reversed or mirrored masks, whose HU must also be closer together:
MAX_SPREAD = 0.8
# Gradient where the masks fit best / the median of all ways to mirror them, which have no reason to fit: from 2.09 in
# sound scans and shifted or reversed ones, at most 1.84 under masks of another patient.
MIN_CONTRAST = 1.9
MIN_CONTRAST_SLICES = 8
MIN_END_PX = 100  # a smaller tip fits any soft tissue
LEVELS_HU = (-100, 250)  # beyond, bone and air would outshine the liver's edge
BLUR_PX = 1.0

# What makes a mask fit: transpose it, then reverse its rows, then its columns.
MIRRORED = {
    "columns mirrored": (False, False, True),
    "rows mirrored": (False, True, False),
    "turned by 180 degrees": (False, True, True),
    "transposed": (True, False, False),
    "turned by 90 degrees": (True, False, True),  # clockwise
    "turned by 270 degrees": (True, True, False),
    "transposed along the other diagonal": (True, True, True),
}


@dataclass(frozen=True)
class Misfit:
    """The masks of ranks `first` to `last` fit better elsewhere, with `gain` times the gradient.

    `how` is "shifted" (mask k fits slice k + shift), "reversed", a key of MIRRORED (they fit when that is done to
    them), or "nowhere" when they fit no slice around.
    """

    first: int
    last: int
    how: str
    shift: int
    gain: float


@dataclass(frozen=True)
class Alignment:
    """How the masks of one patient lie on its slices."""

    profile: list[float]  # mean gradient, HU a pixel, for shifts -MAX_SHIFT to MAX_SHIFT; empty when too few can tell
    misfits: list[Misfit]
    doubled: list[int]  # ranks whose mask, not empty, is that of the slice before to the pixel
    liver_hu: list[float] | None  # mean and standard deviation under the masks; None without liver
    beyond: dict[int, float]  # the slices before the first mask and after the last: share of it that looks like liver


@dataclass(frozen=True)
class _Border:
    """Pixels of a mask's border, each with the direction across it."""

    rows: np.ndarray
    columns: np.ndarray
    down: np.ndarray
    right: np.ndarray
    shape: tuple[int, ...]  # of the mask

    def mirrored(self, transpose: bool, rows: bool, columns: bool) -> "_Border":
        """The border of the mask that _form makes."""
        y, x, down, right, shape = self.rows, self.columns, self.down, self.right, self.shape
        if transpose:
            y, x, down, right, shape = x, y, right, down, shape[::-1]
        return _Border(
            shape[0] - 1 - y if rows else y,
            shape[1] - 1 - x if columns else x,
            -down if rows else down,
            -right if columns else right,
            shape,
        )


def align(slices: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> Alignment:
    """Try every mask on the slices around it.

    Args:
        slices: int16 HU, (rows, columns) each, in order of rank; one is held at a time.
        masks: uint8 {0, 1}, (rows, columns) each, as many.
    """
    masks = list(masks)
    doubled = [k for k in range(1, len(masks)) if masks[k].any() and np.array_equal(masks[k], masks[k - 1])]
    borders = [_border(mask) for mask in masks]
    n = len(masks)
    shifts = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    fit = np.full((n, len(shifts)), np.nan)
    whole = {how: np.full((n, 2), np.nan) for how in ("here", "reversed", *MIRRORED)}  # gradient, spread of HU
    ends = _ends(masks)
    at_ends, under = {}, np.zeros(3)  # liver pixels, sum and sum of squares of their HU
    for rank, hu in enumerate(slices):
        if rank in ends:
            at_ends[rank] = hu.copy()
        values = hu[masks[rank] > 0].astype(np.float64)
        under += len(values), values.sum(), (values**2).sum()
        gradient = _gradient(hu)
        for column, shift in enumerate(shifts):
            if 0 <= rank - shift < n:
                fit[rank - shift, column] = _across(gradient, borders[rank - shift])
        whole["here"][rank] = fit[rank, MAX_SHIFT], _spread(hu, masks[rank])
        whole["reversed"][-1 - rank] = _across(gradient, borders[-1 - rank]), _spread(hu, masks[-1 - rank])
        for how, form in MIRRORED.items():
            if not form[0] or hu.shape[0] == hu.shape[1]:
                whole[how][rank] = (
                    _across(gradient, borders[rank].mirrored(*form)),
                    _spread(hu, _form(masks[rank], *form)),
                )

    mean, std = _mean_and_std(under)
    shares = {rank: _share(at_ends[rank], masks[mask], mean, std) for rank, mask in ends.items()}
    beyond = {rank: share for rank, share in shares.items() if share is not None}
    liver_hu = [round(mean, 1), round(std, 1)] if under[0] else None
    weight = np.minimum(1.0, np.array([len(border.rows) for border in borders]) / FULL_BORDER_PX)
    labelled = np.flatnonzero(weight)
    if len(labelled) < MIN_LIVER_SLICES:
        return Alignment([], [], doubled, liver_hu, beyond)
    profile = [round(float(mean), 2) for mean in _means(fit, weight)]
    misfits = _misfits(fit[labelled], whole, weight, labelled)
    return Alignment(profile, misfits, doubled, liver_hu, beyond)


def _ends(masks: list[np.ndarray]) -> dict[int, int]:
    """The empty slices next to the liver, each with the labelled one beside it."""
    labelled = [k for k, mask in enumerate(masks) if mask.any()]
    if not labelled:
        return {}
    ends = {labelled[0] - 1: labelled[0], labelled[-1] + 1: labelled[-1]}
    return {rank: beside for rank, beside in ends.items() if 0 <= rank < len(masks)}


def _mean_and_std(sums: np.ndarray) -> tuple[float, float]:
    """From the number of values, their sum and their sum of squares; zeros without values."""
    if not sums[0]:
        return 0.0, 0.0
    mean = float(sums[1] / sums[0])
    return mean, float(np.sqrt(max(0.0, sums[2] / sums[0] - mean**2)))


def _share(hu: np.ndarray, mask: np.ndarray, mean: float, std: float) -> float | None:
    """Share of what `mask` covers, without its rim, that has the HU of the liver (mean +- 2 standard deviations)."""
    values = hu[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0]
    if len(values) < MIN_END_PX:
        return None
    return round(float((np.abs(values - mean) < 2 * std).mean()), 3)


def _misfits(fit: np.ndarray, whole: dict[str, np.ndarray], weight: np.ndarray, labelled: np.ndarray) -> list[Misfit]:
    """What is wrong with all masks at once, reversed, mirrored or of another scan, or with stretches of them."""
    gradient, spread = ({how: _means(both, weight)[part] for how, both in whole.items()} for part in (0, 1))
    span = int(labelled[0]), int(labelled[-1])
    here, weight_labelled = float(gradient["here"]), weight[labelled]
    by_chance = float(np.median([value for how in MIRRORED if (value := gradient[how])]))
    how = max(gradient, key=lambda key: gradient[key])
    path = _best_path(fit / np.nanmax(fit, axis=1).mean() * weight_labelled[:, None])
    fits = float(_means(fit[np.arange(len(path)), path][:, None], weight_labelled)[0])
    enough = np.count_nonzero(weight == 1) >= MIN_CONTRAST_SLICES
    if enough and max(fits, gradient[how]) < MIN_CONTRAST * by_chance:
        return [Misfit(*span, "nowhere", 0, fits / here)]
    if gradient[how] > MIN_GAIN_WHOLE * fits and spread[how] < MAX_SPREAD * spread["here"]:
        return [Misfit(*span, how, 0, float(gradient[how]) / here)]
    return _shifted(fit, path, labelled)


def _shifted(fit: np.ndarray, path: np.ndarray, labelled: np.ndarray) -> list[Misfit]:
    """Stretches of masks that fit other slices."""
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    misfits = []
    for first, end in pairwise(edges):
        shift = int(path[first]) - MAX_SHIFT
        here, there = (float(np.nansum(fit[first:end, column])) for column in (MAX_SHIFT, path[first]))
        if shift and there > MIN_GAIN * here:
            misfits.append(Misfit(int(labelled[first]), int(labelled[end - 1]), "shifted", shift, there / here))
    return misfits


def _best_path(fit: np.ndarray) -> np.ndarray:
    """The shift (as a column of `fit`) of each mask that maximises the fit less the cost of changes (Viterbi)."""
    columns = np.arange(fit.shape[1])
    distance = np.abs(columns[:, None] - columns)
    cost = np.where(distance == 0, 0.0, CHANGE_COST + COST_PER_SLICE * distance)
    score, back = -cost[MAX_SHIFT], []
    for row in np.nan_to_num(fit):
        candidates = score[:, None] - cost
        back.append(candidates.argmax(axis=0))
        score = candidates.max(axis=0) + row
    path = [int(score.argmax())]
    for step in reversed(back[1:]):
        path.append(int(step[path[-1]]))
    return np.array(path[::-1])


def _means(fit: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean of each column over the masks that have a value there; 0 where none has."""
    weights = np.where(np.isnan(fit), 0.0, weight[:, None])
    total = weights.sum(axis=0)
    return np.divide((np.nan_to_num(fit) * weights).sum(axis=0), total, out=np.zeros_like(total), where=total > 0)


def _border(mask: np.ndarray) -> _Border:
    mask = np.ascontiguousarray(mask)
    inside = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    rows, columns = np.nonzero(mask != inside)
    down, right = _sobel(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2.0))
    normal = np.stack([down[rows, columns], right[rows, columns]])
    normal /= np.maximum(np.hypot(*normal), 1e-6)
    return _Border(rows, columns, normal[0], normal[1], mask.shape)


def _gradient(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _sobel(cv2.GaussianBlur(np.clip(hu, *LEVELS_HU).astype(np.float32), (0, 0), BLUR_PX))


def _sobel(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives down and to the right, per pixel."""
    down, right = (np.asarray(cv2.Sobel(image, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8)) for dx in (0, 1))
    return down, right


def _across(gradient: tuple[np.ndarray, np.ndarray], border: _Border) -> float:
    """Mean absolute gradient across a border, HU a pixel; NaN without a border."""
    if not len(border.rows):
        return float("nan")
    down, right = (part[border.rows, border.columns] for part in gradient)
    return float(np.abs(down * border.down + right * border.right).mean())


def _spread(hu: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation of HU under a mask; NaN without one."""
    under = hu[mask > 0]
    return float(np.clip(under, *LEVELS_HU).std()) if len(under) else float("nan")


def _form(mask: np.ndarray, transpose: bool, rows: bool, columns: bool) -> np.ndarray:
    mask = mask.T if transpose else mask
    return mask[:: -1 if rows else 1, :: -1 if columns else 1]
