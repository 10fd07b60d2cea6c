"""Distances between the borders of two masks, exact, in the time of the voxels that matter.

A border voxel first looks whether one of the other mask is among its neighbours, nearest first; only those with nothing
near ask a KD-tree, or a distance transform of each plane where a bad mask has a border all over the volume. A transform
takes ten times as long where the masks agree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from chaos_seg.evaluation.masks import border, bounding_box, check_masks, checked_spacing

REACH = 4  # voxels along each axis to look for a neighbour before a KD-tree is asked; the result is the same
MAX_SIDE = 512  # pixels up to which squares of OpenCV's float32 distances round to the right whole numbers; at 1024 not
MANY = 300_000  # border voxels, for which a KD-tree takes longer than a distance transform of each plane
MANY_FAR = 50_000  # the same, of voxels with nothing near, which a KD-tree answers slowly


@dataclass(frozen=True)
class Border:
    """Border voxels (3, n) of a mask in the order of their planes; `inner` (n,) are those with background beside them,
    the others have only the volume's end.
    """

    voxels: np.ndarray
    inner: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, mask: np.ndarray) -> "Border":
        """The border() of a mask, bool or integer (slices, rows, columns)."""
        box = bounding_box(mask, margin=1)  # a margin of background, except where the volume ends
        inside = mask[box].astype(bool)
        places = np.flatnonzero(border(inside, outside=False))
        indices = np.unravel_index(places, inside.shape)  # a fifth of the time of np.argwhere
        voxels = np.stack([index + part.start for index, part in zip(indices, box, strict=True)])
        return cls(voxels, border(inside).ravel()[places], mask.shape)

    @property
    def faces(self) -> list[np.ndarray]:
        """The voxels that are not inner, by the face of the volume that they are on."""
        ends = self.voxels[:, ~self.inner]
        return [ends[:, ends[axis] == end] for axis, n in enumerate(self.shape) for end in {0, n - 1}]


@dataclass(frozen=True)
class BorderDistances:
    """From each border voxel of two masks, `a` and `b`, mm to the nearest one of the other; see border_distances().

    The challenge and MONAI differ in what lies behind the volume's end, and so in border voxels that are there alone.
    `there` and `back` are the distances to the other's inner voxels.
    """

    a: Border
    b: Border
    spacing: np.ndarray
    there: np.ndarray
    back: np.ndarray

    def mm(self, ends: bool) -> tuple[np.ndarray, np.ndarray]:
        """From the predicted border to the reference's, and back; infinite where the other has none.

        With `ends` also from and to where a mask leaves the volume.
        """
        if not ends:
            return self.there[self.a.inner], self.back[self.b.inner]
        there, back = self.there, self.back
        for face in self.b.faces:  # it is far from most, which its box tells
            there = _lessened(there, self.a.voxels, face, self.spacing)
        for face in self.a.faces:
            back = _lessened(back, self.b.voxels, face, self.spacing)
        return there, back


def border_distances(
    predictions: Sequence[np.ndarray], reference: np.ndarray, spacing_mm: Sequence[float]
) -> list[BorderDistances]:
    """Of each prediction, found once for all that ask; voxels that several of them share are looked at once.

    Args:
        predictions, reference: bool or integer (slices, rows, columns); any nonzero is liver.
        spacing_mm: between slices, rows and columns.

    Raises:
        ValueError: not masks of one volume, or spacing is not three positive numbers.
    """
    for predicted in predictions:
        check_masks(predicted, reference)
    spacing = checked_spacing(spacing_mm)
    borders, b = [Border.of(predicted) for predicted in predictions], Border.of(reference)
    numbers = [np.ravel_multi_index(tuple(a.voxels), reference.shape) for a in borders]
    asked = np.zeros(reference.size, bool)
    for of_one in numbers:
        asked[of_one] = True
    every = np.flatnonzero(asked)
    there = _to_inner(np.stack(np.unravel_index(every, reference.shape)), b, spacing)
    return [
        BorderDistances(a, b, spacing, there[np.searchsorted(every, of_one)], _to_inner(b.voxels, a, spacing))
        for a, of_one in zip(borders, numbers, strict=True)
    ]


def _to_inner(voxels: np.ndarray, other: Border, spacing: np.ndarray) -> np.ndarray:
    return _lessened(np.full(voxels.shape[1], np.inf), voxels, other.voxels[:, other.inner], spacing)


def _lessened(known: np.ndarray, a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """mm from each voxel of `a` to the nearest one of `b`, where that is less than what is known."""
    if not a.size or not b.size:
        return known
    to_box = np.zeros(a.shape[1])
    for places, low, high, mm in zip(a, b.min(axis=1), b.max(axis=1), spacing, strict=True):
        to_box += (np.maximum(low - places, places - high).clip(0) * mm) ** 2
    open_, known = np.flatnonzero(to_box < known**2), known.copy()
    known[open_] = np.minimum(known[open_], nearest_mm(a[:, open_], b, spacing))
    return known


def nearest_mm(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """From each voxel of `a` (3, n), mm to the nearest one of `b` (3, m).

    Exact: a voxel is done at the first distance at which it has a neighbour in `b`, and _neighbours() leaves out none
    that is nearer.
    """
    if not a.size:
        return np.zeros(0)
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
    if np.count_nonzero(rest) > MANY_FAR or (rest.any() and b.shape[1] > MANY):
        distances[rest] = _plane_by_plane(a[:, rest], b, spacing)
    elif rest.any():
        # The defaults (16, compact, balanced) take twice as long to build and from afar three times as long to ask.
        tree = cKDTree(b.T * spacing, 64, compact_nodes=False, balanced_tree=False)
        distances[rest] = tree.query(a[:, rest].T * spacing)[0]
    return distances


def _plane_by_plane(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """nearest_mm() of voxels in the order of their planes, in a time that hardly depends on how many they are.

    The square of the distance to the nearest voxel of a plane of `b` is that within the plane and that between the
    planes; the least over all planes is sought.
    """
    low = np.minimum(a.min(axis=1), b.min(axis=1))
    height, width = (np.maximum(a.max(axis=1), b.max(axis=1)) - low + 1)[1:]
    (z, *place), (z_b, *place_b) = a - low[:, None], b - low[:, None]
    flat, flat_b = place[0] * width + place[1], place_b[0] * width + place_b[1]
    planes, starts = np.unique(z, return_index=True)
    parts = [slice(*ends) for ends in zip(starts, [*starts[1:], len(z)], strict=True)]
    least, worst = np.full(a.shape[1], np.inf), np.full(len(planes), np.inf)
    for k_b in sorted(np.unique(z_b), key=lambda k: np.abs(planes - k).min()):  # nearest first
        between = ((planes - k_b) * spacing[0]) ** 2
        if not (between < worst).any():
            continue
        outside = np.ones(height * width, bool)
        outside[flat_b[slice(*np.searchsorted(z_b, (k_b, k_b + 1)))]] = False
        within = _squared_mm(outside.reshape(height, width), spacing[1:]).ravel()
        for k in np.flatnonzero(between < worst):
            nearer = within[flat[parts[k]]] + between[k]
            least[parts[k]] = np.minimum(least[parts[k]], nearer)
            worst[k] = least[parts[k]].max()
    return np.sqrt(least)


def _squared_mm(outside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """From each pixel that is `outside` the square of the distance to the nearest that is not."""
    if spacing[0] != spacing[1] or max(outside.shape) > MAX_SIDE:
        within: np.ndarray = ndimage.distance_transform_edt(outside, sampling=spacing) ** 2
        return within
    pixels = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.rint(pixels.astype(np.float64) ** 2) * spacing[0] ** 2  # roots of whole numbers


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
