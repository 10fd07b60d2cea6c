"""Distances between the borders of two masks, exact, in the time of the voxels that matter.

A border voxel first looks whether one of the other mask is among its neighbours, nearest first; only those with nothing
near ask a KD-tree, or a distance transform of each plane where a bad mask has a border all over the volume. A transform
takes ten times as long where the masks agree.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from chaos_seg.evaluation.masks import border, bounding_box

REACH = 4  # voxels along each axis to look for a neighbour before a KD-tree is asked; the result is the same
MAX_SIDE = 512  # pixels up to which squares of OpenCV's float32 distances round to the right whole numbers; at 1024 not
MANY = 300_000  # border voxels, for which a KD-tree takes longer than a distance transform of each plane


class BorderDistances:
    """From each border voxel of two masks, mm to the nearest one of the other, found once for all that ask.

    The challenge and MONAI differ in what lies behind the volume's end, and so in border voxels that are there alone.
    `part` of the predicted mask is one that no face joins to the rest, so that its border is the mask's inside of it.

    Args:
        predicted, reference: bool or integer (slices, rows, columns); any nonzero is liver.
        spacing_mm: between slices, rows and columns.
        part: bool, such as the largest component; all of the predicted mask by default.
    """

    def __init__(
        self,
        predicted: np.ndarray,
        reference: np.ndarray,
        spacing_mm: Sequence[float],
        part: np.ndarray | None = None,
    ) -> None:
        self._spacing, self._shape = np.asarray(spacing_mm, float), predicted.shape
        (self._a, self._a_ends), (self._b, self._b_ends) = border_voxels(predicted), border_voxels(reference)
        self._in_part = np.ones(self._a.shape[1], bool) if part is None else part[tuple(self._a)]
        self._there = {False: self._to_reference(False, np.full(self._a.shape[1], np.inf))}
        self._there[True] = self._to_reference(True, self._there[False])
        self._back = {(False, True): self._to_predicted(False, True, np.full(self._b.shape[1], np.inf))}
        self._back[False, False] = self._to_predicted(False, False, self._back[False, True])
        self._back[True, True] = self._to_predicted(True, True, self._back[False, True])
        self._back[True, False] = self._to_predicted(
            True, False, np.minimum(self._back[False, False], self._back[True, True])
        )

    def mm(self, ends: bool, part: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """From the predicted border, or that of its part, to the reference's, and back; infinite where it has none.

        With `ends` also from and to where a mask leaves the volume.
        """
        of_part, official = self._in_part | (not part), (~self._a_ends | ends, ~self._b_ends | ends)
        return self._there[ends][of_part & official[0]], self._back[ends, part][official[1]]

    def _to_reference(self, ends: bool, known: np.ndarray) -> np.ndarray:
        return self._less(known, self._a, self._b[:, self._b_ends == ends], ends)

    def _to_predicted(self, ends: bool, part: bool, known: np.ndarray) -> np.ndarray:
        return self._less(known, self._b, self._a[:, (self._a_ends == ends) & (self._in_part == part)], ends)

    def _less(self, known: np.ndarray, a: np.ndarray, b: np.ndarray, ends: bool) -> np.ndarray:
        """`known` where it is less than the distance from `a` to `b`, which `ends` takes face by face of the volume."""
        known = known.copy()
        faces = [b[:, b[axis] == end] for axis, size in enumerate(self._shape) for end in {0, size - 1}]
        for some in faces if ends else [b]:
            if not some.size:
                continue
            low, high = some.min(axis=1, keepdims=True), some.max(axis=1, keepdims=True)
            to_box = (np.maximum(low - a, a - high).clip(0) * self._spacing[:, None]) ** 2
            open_ = np.flatnonzero(to_box.sum(axis=0) < known**2)
            known[open_] = np.minimum(known[open_], nearest_mm(a[:, open_], some, self._spacing))
        return known


def border_voxels(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (3, n) of the border() voxels of `mask`, and which of them are there for the volume's end alone."""
    box = bounding_box(mask, margin=1)  # a margin of background, except where the volume ends
    inside = mask[box].astype(bool)
    places = np.flatnonzero(border(inside, outside=False))
    indices = np.unravel_index(places, inside.shape)  # a fifth of the time of np.argwhere
    voxels = np.stack([index + part.start for index, part in zip(indices, box, strict=True)])
    return voxels, ~border(inside).ravel()[places]


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
    if rest.any() and max(np.count_nonzero(rest), b.shape[1]) > MANY:
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
    planes = [(k, slice(*np.searchsorted(z, (k, k + 1)))) for k in np.unique(z).tolist()]
    least = np.full(a.shape[1], np.inf)
    nearest_first = sorted(np.unique(z_b).tolist(), key=lambda k_b: min(abs(k_b - k) for k, _ in planes))
    for k_b in nearest_first:
        between = {k: ((k - k_b) * spacing[0]) ** 2 for k, _ in planes}
        open_planes = [(k, part) for k, part in planes if between[k] < least[part].max()]
        if not open_planes:
            continue
        outside = np.ones(height * width, bool)
        outside[flat_b[slice(*np.searchsorted(z_b, (k_b, k_b + 1)))]] = False
        within = _squared_mm(outside.reshape(height, width), spacing[1:]).ravel()
        for k, part in open_planes:
            np.minimum(least[part], within[flat[part]] + between[k], out=least[part])
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
