"""The CHAOS challenge's metrics of one patient, equal to its evaluation code, in the time of the voxels that matter.

DICE, RAVD, ASSD, MSSD and the score of A. E. Kavur et al., "CHAOS Challenge - combined (CT-MR) healthy abdominal organ
segmentation", Medical Image Analysis 69 (2021), as computed by emrekavur/CHAOS-evaluation.

Distances are those that KD-trees over all border voxels give, up to the rounding of a sum. Three things make them
quick: borders are sought in the box around each mask; a border voxel first looks whether one of the other mask is among
its neighbours, nearest first; only those with nothing near ask a KD-tree, or a distance transform of each plane where
a bad mask has a border all over the volume. A transform takes ten times as long where the masks agree.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from chaos_seg.evaluation.masks import Box, border, bounding_box, check_masks, checked_spacing, intersection

# The challenge's thresholds: no points below DICE_LIMIT, none above the others.
DICE_LIMIT = 0.8
RAVD_LIMIT_PERCENT, ASSD_LIMIT_MM, MSSD_LIMIT_MM = 5.0, 15.0, 60.0
REACH = 4  # voxels along each axis to look for a neighbour before a KD-tree is asked; the result is the same

MANY = 300_000  # border voxels, for which a KD-tree takes longer than a distance transform of each plane


@dataclass(frozen=True)
class ChaosScores:
    """One patient's metrics; NaN is what has no value, see chaos_scores()."""

    dice: float
    ravd_percent: float
    assd_mm: float
    mssd_mm: float

    @property
    def score(self) -> float:
        """Mean of the four points(), 0 to 100; NaN when no metric has a value."""
        return float(np.mean(list(self.points().values())))

    def points(self) -> dict[str, float]:
        """0 to 100 for each metric, linear up to the challenge's limit and 0 beyond.

        A metric without a value earns 0, as in the challenge, whose MATLAB code puts the highest possible distance
        there. When none has a value there is nothing to judge, and all are NaN.
        """
        if all(math.isnan(v) for v in (self.dice, self.ravd_percent, self.assd_mm, self.mssd_mm)):
            return dict.fromkeys(("dice", "ravd", "assd", "mssd"), math.nan)
        return {
            "dice": 100 * self.dice if self.dice >= DICE_LIMIT else 0.0,
            "ravd": _points(self.ravd_percent, RAVD_LIMIT_PERCENT),
            "assd": _points(self.assd_mm, ASSD_LIMIT_MM),
            "mssd": _points(self.mssd_mm, MSSD_LIMIT_MM),
        }


def chaos_scores(predicted: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> ChaosScores:
    """DICE, RAVD, ASSD and MSSD of two masks of one patient.

    DICE = 2 |A and B| / (|A| + |B|); RAVD = 100 ||A| - |B|| / |B| with B the reference, in percent; ASSD is the mean of
    the distances of both masks' border voxels to the other's nearest one, all in one pool, and MSSD their maximum.

    Empty masks: no prediction where there is liver gives DICE 0, RAVD 100 and no distances; a prediction where there
    is none gives DICE 0 and neither RAVD nor distances; both score 0. Two empty masks have no metric and no score. What
    there is not is NaN, to be counted and left out of means. A mask that fills the volume has no border() and hence no
    distances.

    Args:
        predicted: bool or integer (slices, rows, columns); any nonzero is liver.
        reference: the same.
        spacing_mm: between slices, rows and columns: the step of ImagePositionPatient, not SliceThickness.

    Raises:
        ValueError: shapes differ or have not three axes, masks of floating point, or spacing that is not three positive
            numbers.
    """
    check_masks(predicted, reference)
    spacing = checked_spacing(spacing_mm)
    boxes = bounding_box(predicted, margin=1), bounding_box(reference, margin=1)
    sizes = [int(np.count_nonzero(mask[box])) for mask, box in zip((predicted, reference), boxes, strict=True)]
    if not any(sizes):
        return ChaosScores(math.nan, math.nan, math.nan, math.nan)
    both = intersection(*boxes)
    common = int(np.count_nonzero(predicted[both].astype(bool) & reference[both].astype(bool)))
    assd, mssd = _surface_distances(_border_voxels(predicted, boxes[0]), _border_voxels(reference, boxes[1]), spacing)
    return ChaosScores(
        dice=2 * common / sum(sizes),
        ravd_percent=abs(sizes[0] - sizes[1]) / sizes[1] * 100 if sizes[1] else math.nan,
        assd_mm=assd,
        mssd_mm=mssd,
    )


def _points(value: float, limit: float) -> float:
    return 100 * (limit - value) / limit if value <= limit else 0.0  # NaN is not below the limit


def _border_voxels(mask: np.ndarray, box: Box) -> np.ndarray:
    """Indices (3, n) of the border voxels of `mask`, all of which lies in `box`.

    The box has a margin of background, except where the volume ends: there border() has to see that it ends.
    """
    on_border = border(mask[box].astype(bool))
    indices = np.unravel_index(np.flatnonzero(on_border), on_border.shape)  # a fifth of the time of np.argwhere
    return np.stack([index + part.start for index, part in zip(indices, box, strict=True)])


def _surface_distances(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    """ASSD and MSSD in mm between the border voxels `a` (3, n) and `b` (3, m); NaN when there are none of one."""
    if not a.size or not b.size:
        return math.nan, math.nan
    there, back = _distances(a, b, spacing), _distances(b, a, spacing)
    # The official code's order of sums: a more exact sum differs from its ASSD in the last digit.
    return float((there.sum() + back.sum()) / (len(there) + len(back))), float(max(there.max(), back.max()))


def _distances(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """From each voxel of `a` (3, n), mm to the nearest one of `b` (3, m).

    Exact: a voxel is done at the first distance at which it has a neighbour in `b`, and _neighbours() leaves out none
    that is nearer.
    """
    if a.shape[1] > max(MANY, 4 * b.shape[1]):  # most of them have nothing near
        return _plane_by_plane(a, b, spacing)
    distances = np.full(a.shape[1], np.nan)
    # Voxels of `a` outside of here have nothing of `b` in reach.
    low = np.maximum(a.min(axis=1), b.min(axis=1)) - REACH
    high = np.minimum(a.max(axis=1), b.max(axis=1)) + REACH
    left = np.flatnonzero(_inside(a, low, high))
    if len(left):
        low, high = low - REACH, high + REACH  # so that all neighbours lie inside the grid
        shape = high - low + 1
        strides = np.array([shape[1] * shape[2], shape[2], 1])
        grid = np.zeros(shape.prod(), bool)
        grid[strides @ b[:, _inside(b, low, high)] - strides @ low] = True
        places = strides @ a[:, left] - strides @ low
        for distance, offsets in _neighbours(spacing):
            hit = np.zeros(len(left), bool)
            for step in offsets @ strides:
                hit |= grid[places + step]
            distances[left[hit]] = distance
            left, places = left[~hit], places[~hit]
            if not len(left):
                break
    rest = np.isnan(distances)
    if rest.any() and max(np.count_nonzero(rest), b.shape[1]) > MANY:
        distances[rest] = _plane_by_plane(a[:, rest], b, spacing)
    elif rest.any():
        # The defaults (16, compact, balanced) take twice as long to build and from afar three times as long to ask.
        tree = cKDTree(b.T * spacing, 64, compact_nodes=False, balanced_tree=False)
        distances[rest] = tree.query(a[:, rest].T * spacing)[0]
    return distances


def _plane_by_plane(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """_distances() of voxels in the order of their planes, in a time that hardly depends on how many they are.

    The square of the distance to the nearest voxel of a plane of `b` is that within the plane and that between the
    planes; the least over all planes is sought.
    """
    low = np.minimum(a.min(axis=1), b.min(axis=1))
    height, width = (np.maximum(a.max(axis=1), b.max(axis=1)) - low + 1)[1:]
    (z, *place), (z_b, *place_b) = a - low[:, None], b - low[:, None]
    flat, flat_b = place[0] * width + place[1], place_b[0] * width + place_b[1]
    planes = [(k, slice(*np.searchsorted(z, (k, k + 1)))) for k in np.unique(z).tolist()]
    least = np.full(a.shape[1], np.inf)
    for k_b in np.unique(z_b).tolist():
        outside = np.ones(height * width, bool)
        outside[flat_b[slice(*np.searchsorted(z_b, (k_b, k_b + 1)))]] = False
        within = ndimage.distance_transform_edt(outside.reshape(height, width), sampling=spacing[1:]).ravel() ** 2
        for k, part in planes:
            between = ((k - k_b) * spacing[0]) ** 2
            if between < least[part].max():
                np.minimum(least[part], within[flat[part]] + between, out=least[part])
    return np.sqrt(least)


def _inside(voxels: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which of the voxels (3, n) lie from `low` to `high`; bool (n,)."""
    return np.all((voxels >= low[:, None]) & (voxels <= high[:, None]), axis=0)


def _neighbours(spacing: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Distances in mm, ascending from 0, with the offsets (n, 3) in voxels at each; none is left out up to the last."""
    reach = np.arange(-REACH, REACH + 1)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = np.sqrt(((offsets * spacing) ** 2).sum(axis=1))
    complete = distances < (REACH + 1) * spacing.min()
    offsets, distances = offsets[complete], distances[complete]
    for distance in np.unique(distances):
        yield float(distance), offsets[distances == distance]
