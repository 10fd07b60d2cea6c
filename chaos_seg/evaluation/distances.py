"""Distances between the borders of two masks, exact, in the time of the voxels that matter.

A border voxel first looks whether one of the other mask is among its neighbours, nearest first; only those with nothing
near ask a KD-tree, or a distance transform of each plane where a bad mask has a border all over the volume. A transform
takes ten times as long where the masks agree.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from chaos_seg.evaluation.masks import Box, border

REACH = 4  # voxels along each axis to look for a neighbour before a KD-tree is asked; the result is the same
MAX_SIDE = 512  # pixels up to which squares of OpenCV's float32 distances round to the right whole numbers; at 1024 not
MANY = 300_000  # border voxels, for which a KD-tree takes longer than a distance transform of each plane


def border_voxels(mask: np.ndarray, box: Box, outside: bool = True) -> np.ndarray:
    """Indices (3, n) of the border() voxels of `mask`, all of which lies in `box`.

    The box has a margin of background, except where the volume ends: there border() has to see that it ends. With
    `outside` false it needs none.
    """
    on_border = border(mask[box].astype(bool), outside)
    indices = np.unravel_index(np.flatnonzero(on_border), on_border.shape)  # a fifth of the time of np.argwhere
    return np.stack([index + part.start for index, part in zip(indices, box, strict=True)])


def nearest_mm(a: np.ndarray, b: np.ndarray, spacing: np.ndarray) -> np.ndarray:
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
