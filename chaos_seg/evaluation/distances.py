"""Distances between the borders of two masks, exact, in the time of the voxels that matter.

A border voxel first looks whether one of the other mask is among its neighbours, nearest first; only those with nothing
near ask a KD-tree, or a distance transform of each plane where a bad mask has a border all over the volume. A transform
takes ten times as long where the masks agree.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

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
class Grid:
    """The voxels of a volume (slices, rows, columns), numbered row by row and plane by plane, and mm between them."""

    shape: tuple[int, ...]
    spacing: np.ndarray

    @property
    def plane(self) -> int:
        """Voxels in a plane."""
        return self.shape[1] * self.shape[2]

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Slice, row and column of voxels by number; (3, n)."""
        return np.stack(np.unravel_index(numbers, self.shape))

    def marked(self, numbers: np.ndarray) -> np.ndarray:
        """The volume with nothing but these voxels; bool (slices, rows, columns)."""
        volume = np.zeros(self.shape, bool)
        volume.ravel()[numbers] = True
        return volume

    def by_plane(self, numbers: np.ndarray) -> tuple[np.ndarray, dict[int, slice]]:
        """Ascending numbers, counted in their planes, and which of them each plane has that has some."""
        ends = np.searchsorted(numbers, np.arange(self.shape[0] + 1) * self.plane)
        parts = {plane: slice(*pair) for plane, pair in enumerate(pairwise(ends)) if pair[0] < pair[1]}
        return numbers % self.plane, parts


@dataclass(frozen=True)
class Border:
    """Border voxels of a mask by number (n,), ascending; `inner` (n,) are those with background beside them, the others
    have only the volume's end.
    """

    voxels: np.ndarray
    inner: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> "Border":
        """The border() of a mask, bool or integer (slices, rows, columns)."""
        box = bounding_box(mask, margin=1)  # a margin of background, except where the volume ends
        inside, volume = mask[box].astype(bool), np.zeros(mask.shape, bool)
        volume[box] = border(inside, outside=False)
        voxels = np.flatnonzero(volume)
        volume[box] = border(inside)
        return cls(voxels, volume.ravel()[voxels])

    def faces(self, grid: Grid) -> list[np.ndarray]:
        """The voxels that are not inner, by the face of the volume that they are on."""
        ends = self.voxels[~self.inner]
        on = grid.places(ends)
        return [ends[on[axis] == end] for axis, n in enumerate(grid.shape) for end in {0, n - 1}]


@dataclass(frozen=True)
class BorderDistances:
    """From each border voxel of two masks, `a` and `b`, mm to the nearest one of the other; see border_distances().

    The challenge and MONAI differ in what lies behind the volume's end, and so in border voxels that are there alone.
    `there` and `back` are the distances to the other's inner voxels.
    """

    a: Border
    b: Border
    grid: Grid
    there: np.ndarray
    back: np.ndarray

    def mm(self, ends: bool) -> tuple[np.ndarray, np.ndarray]:
        """From the predicted border to the reference's, and back; infinite where the other has none.

        With `ends` also from and to where a mask leaves the volume.
        """
        if not ends:
            return self.there[self.a.inner], self.back[self.b.inner]
        there, back = self.there, self.back
        for face in self.b.faces(self.grid):  # it is far from most, which its box tells
            there = _lessened(there, self.a.voxels, face, self.grid)
        for face in self.a.faces(self.grid):
            back = _lessened(back, self.b.voxels, face, self.grid)
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
    grid = Grid(reference.shape, checked_spacing(spacing_mm))
    with ThreadPoolExecutor() as pool:  # nearly all of it runs in NumPy, SciPy and OpenCV, which let threads run
        b, *borders = pool.map(Border.of, [reference, *predictions])
        back = pool.map(lambda a: _to_inner(b.voxels, a, grid), borders)
        every = np.flatnonzero(grid.marked(np.concatenate([a.voxels for a in borders])))
        there = _to_inner(every, b, grid)
        return [
            BorderDistances(a, b, grid, there[grid.marked(a.voxels).ravel()[every]], of_a)
            for a, of_a in zip(borders, back, strict=True)
        ]


def _to_inner(voxels: np.ndarray, other: Border, grid: Grid) -> np.ndarray:
    inner = other.voxels[other.inner]
    return nearest_mm(voxels, inner, grid) if inner.size else np.full(voxels.shape, np.inf)


def _lessened(known: np.ndarray, a: np.ndarray, b: np.ndarray, grid: Grid) -> np.ndarray:
    """mm from each voxel of `a` to the nearest one of `b`, where that is less than what is known."""
    if not a.size or not b.size:
        return known
    to_box = np.zeros(a.shape)
    for places, others, mm in zip(grid.places(a), grid.places(b), grid.spacing, strict=True):
        to_box += (np.maximum(others.min() - places, places - others.max()).clip(0) * mm) ** 2
    open_, known = np.flatnonzero(to_box < known**2), known.copy()
    known[open_] = np.minimum(known[open_], nearest_mm(a[open_], b, grid))
    return known


def nearest_mm(a: np.ndarray, b: np.ndarray, grid: Grid) -> np.ndarray:
    """From each voxel of `a` (n,), mm to the nearest one of `b` (m,), both by number and ascending.

    Exact: a voxel is done at the first distance at which it has a neighbour in `b`, and _neighbours() leaves out none
    that is nearer.
    """
    if len(a) > max(MANY, 4 * len(b)):  # most of them have nothing near
        return _plane_by_plane(a, b, grid)
    distances = _by_neighbours(a, b, grid)
    rest = np.isnan(distances)
    if np.count_nonzero(rest) > MANY_FAR or (rest.any() and len(b) > MANY):
        distances[rest] = _plane_by_plane(a[rest], b, grid)
    elif rest.any():
        # The defaults (16, compact, balanced) take twice as long to build and from afar three times as long to ask.
        tree = cKDTree(grid.places(b).T * grid.spacing, 64, compact_nodes=False, balanced_tree=False)
        distances[rest] = tree.query(grid.places(a[rest]).T * grid.spacing)[0]
    return distances


def _by_neighbours(a: np.ndarray, b: np.ndarray, grid: Grid) -> np.ndarray:
    """nearest_mm() of voxels with one of `b` in reach; NaN for the others."""
    distances, places, places_b = np.full(a.shape, np.nan), grid.places(a), grid.places(b)
    if not a.size or not b.size:
        return distances
    # Voxels of `a` outside of here have nothing of `b` in reach.
    low = np.maximum(places.min(axis=1), places_b.min(axis=1)) - REACH
    high = np.minimum(places.max(axis=1), places_b.max(axis=1)) + REACH
    left = np.flatnonzero(_inside(places, low, high))
    low, shape = low - REACH, high - low + 1 + 2 * REACH  # so that all neighbours lie inside
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    if not left.size:
        return distances
    marked = np.zeros(shape.prod(), bool)
    marked[strides @ (places_b[:, _inside(places_b, low, low + shape - 1)] - low[:, None])] = True
    here = strides @ (places[:, left] - low[:, None])
    for distance, offsets in _neighbours(grid.spacing):
        hit = np.zeros(len(left), bool)
        for step in offsets @ strides:
            hit |= marked[here + step]
        distances[left[hit]] = distance
        left, here = left[~hit], here[~hit]
        if not len(left):
            break
    return distances


def _plane_by_plane(a: np.ndarray, b: np.ndarray, grid: Grid) -> np.ndarray:
    """nearest_mm() in a time that hardly depends on how many voxels there are.

    The square of the distance to the nearest voxel of a plane of `b` is that within the plane and that between the
    planes; the least over all planes is sought. One plane in eight comes first: the others are looked at no further
    from `a` than these have something.
    """
    (pixels, parts), (pixels_b, parts_b) = grid.by_plane(a), grid.by_plane(b)
    planes, of_plane = np.array(list(parts)), list(parts.values())
    low, high = _ends(pixels, grid)
    low_b, high_b = _ends(pixels_b, grid)
    least, worst = np.full(a.shape, np.inf), np.full(len(planes), np.inf)
    whole = np.minimum(low, low_b), np.maximum(high, high_b)
    outside = np.ones(grid.shape[1:], bool)
    squares = np.zeros(grid.shape[1:], np.float32 if _even(whole[1] - whole[0], grid.spacing[1:]) else float)
    for done, k_b in enumerate(sorted(parts_b, key=lambda k: k % 8 > 0), 1):
        between = ((planes - k_b) * grid.spacing[0] / grid.spacing[1]) ** 2
        asking = np.flatnonzero(between < worst)
        if not len(asking):
            continue
        reach = np.sqrt(worst[asking].max()) * grid.spacing[1] / grid.spacing[1:] + 1
        ends = np.maximum(low - reach, whole[0]), np.minimum(high + reach, whole[1])
        box = tuple(slice(int(start), int(stop)) for start, stop in zip(*ends, strict=True))
        outside.ravel()[pixels_b[parts_b[k_b]]] = False
        if not outside[box].all():
            squares[box] = _squares(outside[box], grid.spacing[1:])
            for k in asking:
                found = squares.take(pixels[of_plane[k]]) + between[k]
                np.minimum(least[of_plane[k]], found, out=least[of_plane[k]])
        outside.ravel()[pixels_b[parts_b[k_b]]] = True
        if done % 8 == 0:
            worst = np.array([least[part].max() for part in of_plane])
    return np.sqrt(least) * grid.spacing[1]


def _ends(pixels: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The first row and column of pixels by number, and the last plus one."""
    places = np.stack(np.divmod(pixels, grid.shape[2]))
    return places.min(axis=1), places.max(axis=1) + 1


def _even(shape: Sequence[int] | np.ndarray, spacing: np.ndarray) -> bool:
    """Whether OpenCV's distances are exact in a plane of this shape."""
    return bool(spacing[0] == spacing[1] and max(shape) <= MAX_SIDE)


def _squares(outside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """From each pixel that is `outside` the square of the distance to the nearest that is not, in heights of a row."""
    if not _even(outside.shape, spacing):
        within: np.ndarray = ndimage.distance_transform_edt(outside, sampling=spacing / spacing[0]) ** 2
        return within
    pixels = cv2.distanceTransform(outside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.rint(np.square(pixels, out=pixels), out=pixels)  # roots of whole numbers


def _inside(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which of the voxels (3, n) lie from `low` to `high`; bool (n,)."""
    return np.all((places >= low[:, None]) & (places <= high[:, None]), axis=0)


def _neighbours(spacing: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Distances in mm, ascending from 0, with the offsets (n, 3) in voxels at each; none is left out up to the last."""
    reach = np.arange(-REACH, REACH + 1)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = np.sqrt(((offsets * spacing) ** 2).sum(axis=1))
    complete = distances < (REACH + 1) * spacing.min()
    offsets, distances = offsets[complete], distances[complete]
    for distance in np.unique(distances):
        yield float(distance), offsets[distances == distance]
