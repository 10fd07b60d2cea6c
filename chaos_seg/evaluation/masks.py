"""Boolean volumes (slices, rows, columns): the box that holds a mask, its border, its largest component.

Components are found plane by plane, so that a mask of any length needs the memory of two planes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import cv2
import numpy as np
from scipy import ndimage, sparse

Box = tuple[slice, slice, slice]
Planes = Sequence[np.ndarray] | np.ndarray  # (slices, rows, columns), gone through more than once

BRIDGE_MM = 4.0  # radius of the opening by which largest_component() cuts what is joined by a thin bridge alone
WIDEST = 40  # pixels of its radius, whatever a pixel's size is
LARGEST_BY = f"distances from the background, opened by {BRIDGE_MM} mm"  # what `largest` is in scores that say so

_CROSS, _SQUARE = (ndimage.generate_binary_structure(2, connectivity) for connectivity in (1, 2))


def bounding_box(mask: np.ndarray, margin: int = 0) -> Box:
    """The smallest box that holds all of `mask`, wider by up to `margin` voxels inside the volume; empty for none."""
    z = np.flatnonzero(np.any(mask, axis=(1, 2)))
    if not len(z):
        return slice(0, 0), slice(0, 0), slice(0, 0)
    plane = np.any(mask[z[0] : z[-1] + 1], axis=0)  # only the slices that matter: most of a CT has no liver
    extents = z, np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    low = [max(int(axis[0]) - margin, 0) for axis in extents]
    high = [int(axis[-1]) + 1 + margin for axis in extents]  # a slice may end behind the volume
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def intersection(a: Box, b: Box) -> Box:
    """What both boxes hold; an empty box when that is nothing."""
    z, y, x = (slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return z, y, x  # numpy takes nothing where a slice starts behind its end


def border(mask: np.ndarray, outside: bool = True) -> np.ndarray:
    """Voxels of the boolean `mask` with a background voxel among their 6 neighbours.

    What lies outside the volume counts as foreground, or as background with `outside` false. With foreground a mask has
    no border where it leaves the volume, and one that fills it has none at all: `V ^ binary_erosion(V, cross,
    border_value=1)` of the challenge's evaluation code (emrekavur/CHAOS-evaluation, CHAOSmetrics.py). Its PDF says 26
    neighbours; its code does not.
    """
    inside = mask.copy()
    for axis in range(mask.ndim):
        here, there = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
        if not outside:
            here[:1] = here[-1:] = False
    return mask & ~inside


def largest_component(planes: Planes, pixel_mm: Sequence[float]) -> Iterator[np.ndarray]:
    """The largest connected part of a mask whose planes are opened first, plane by plane as bool (rows, columns).

    The opening by a disc of BRIDGE_MM cuts what hangs on a liver by a vessel or a fold alone, and lobes that no slice
    joins more broadly; a mask that nowhere holds the disc is left as it is.

    Largest is the part whose pixels' distances from their plane's background, holes left out, or its end, sum up to
    most: what a model takes for liver in a pelvis is flat, and can have more voxels than the liver. Of equals it is the
    first.

    Voxels are connected through faces, edges and corners (26 neighbours, MONAI's default too): slices lie further
    apart than pixels, so that a thin lobe may go on in the next slice with no pixel above another.

    Args:
        planes: any nonzero is liver.
        pixel_mm: between rows and columns; one that is not above 0 is not known, and nothing is opened.
    """
    for radius_mm in (BRIDGE_MM, 0.0):
        disc = _disc(radius_mm, pixel_mm)
        pieces = _pieces((_eroded(plane, disc) for plane in planes), _SQUARE, weighed=True)
        if len(pieces.part):
            break
    kept = pieces.in_largest()
    for plane, numbers in zip(planes, pieces.of_plane, strict=True):
        core = np.append(False, kept[numbers])[ndimage.label(_eroded(plane, disc), _SQUARE)[0]]
        yield cv2.dilate(core.view(np.uint8), disc).view(bool)


def _disc(radius_mm: float, pixel_mm: Sequence[float]) -> np.ndarray:
    """The pixels around one that lie at most so far from it; uint8 (rows, columns), both odd.

    Spacing that is rounded gives the same disc, and one too fine for a scan of a body none that takes minutes.
    """
    if not radius_mm or not all(mm > 0 for mm in pixel_mm):
        return np.ones((1, 1), np.uint8)
    within = radius_mm + 1e-3 * min(pixel_mm)
    rows, columns = (np.arange(-reach, reach + 1) * mm for mm in pixel_mm for reach in [min(within // mm, WIDEST)])
    return (np.hypot(rows[:, None], columns) <= within).astype(np.uint8)


def _eroded(plane: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """Pixels of a plane around which the disc is all liver, or beyond the picture's end; bool."""
    return cv2.erode((plane != 0).view(np.uint8), disc).view(bool)


def pixels_in_largest_component(planes: Iterable[np.ndarray]) -> list[int]:
    """How many pixels of each plane lie in the part that largest_component() would leave without an opening; each plane
    is taken once.
    """
    pieces = _pieces(planes, _SQUARE, weighed=True)
    pixels = pieces.pixels * pieces.in_largest()
    return [int(pixels[numbers].sum()) for numbers in pieces.of_plane]


def fill_holes(planes: Planes) -> Iterator[np.ndarray]:
    """A mask with the holes that it closes in all three dimensions, plane by plane as bool (rows, columns).

    What touches the volume's end is no hole; background is connected through faces (6 neighbours).
    """
    everywhere = reduce(np.logical_or, planes, np.zeros((1, 1), bool))
    _, *box = bounding_box(everywhere[None])  # all that lies outside is background

    def background(plane: np.ndarray) -> np.ndarray:
        return np.pad(plane[*box] == 0, 1, constant_values=True)  # the frame joins what touches the end of any plane

    pieces = _pieces(map(background, planes), _CROSS)
    ends = [pieces.part[numbers] for numbers in (*pieces.of_plane[:1], *pieces.of_plane[-1:])]
    hole = ~np.isin(pieces.part, np.concatenate([*ends, []]))
    for plane, numbers in zip(planes, pieces.of_plane, strict=True):
        filled = np.zeros(plane.shape, bool)
        labels = ndimage.label(background(plane), _CROSS)[0][1:-1, 1:-1]
        filled[*box] = np.append(True, hole[numbers])[labels]  # label 0 is the mask itself
        yield filled


@dataclass(frozen=True)
class _Pieces:
    """The connected pieces of every plane, numbered through all planes in the order of ndimage.label."""

    of_plane: list[slice]  # the numbers of each plane's pieces
    pixels: np.ndarray  # (pieces,); zeros unless they are weighed
    bulk: np.ndarray  # (pieces,), the sum of their pixels' distances from the background; zeros unless they are weighed
    part: np.ndarray  # (pieces,), the same for pieces that are connected through other planes

    def in_largest(self) -> np.ndarray:
        """Whether each piece belongs to the largest part, of equals to the one that begins first; bool (pieces,)."""
        sizes = np.bincount(self.part, self.bulk)[self.part]
        return self.part == self.part[sizes.argmax()] if len(sizes) else np.zeros(0, bool)


def _pieces(planes: Iterable[np.ndarray], structure: np.ndarray, weighed: bool = False) -> _Pieces:
    """Label each plane by `structure` and join the pieces of neighbouring planes; two planes are held at a time.

    _SQUARE stands for 26 neighbours in the volume, nine of them in the next plane; _CROSS for 6, one in the next.
    """
    of_plane, sizes, pairs = [slice(0)], [np.zeros((2, 0))], [np.zeros((2, 0), int)]
    above, reach = None, int(structure.all())
    for plane in planes:
        labels, count = ndimage.label(plane, structure)
        start = of_plane[-1].stop
        of_plane.append(slice(start, start + count))
        sizes.append(_sizes(labels, count) if weighed else np.zeros((2, count)))
        if above is not None:
            pairs.append(np.add(_touching(above, labels, reach), [[of_plane[-2].start], [start]]))
        above = labels
    joined, total = np.concatenate(pairs, axis=1), of_plane[-1].stop
    graph = sparse.coo_array((np.ones(joined.shape[1], bool), tuple(joined)), (total, total))
    part = sparse.csgraph.connected_components(graph, directed=False)[1]
    pixels, bulk = np.concatenate(sizes, axis=1)
    return _Pieces(of_plane[1:], pixels, bulk, part)


def _sizes(labels: np.ndarray, count: int) -> np.ndarray:
    """Of each labelled piece of a plane how many pixels it has, and the sum of their distances from the background
    around it; (2, count).
    """
    if not count:
        return np.zeros((2, 0))
    _, *box = bounding_box(labels[None] > 0)
    framed = np.pad(labels[*box], 1)
    filled = (framed > 0).astype(np.uint8)
    cv2.floodFill(filled, None, (0, 0), 2)  # all that leads to the frame; holes would take the depth of what is noisy
    depth = cv2.distanceTransform((filled != 2).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = np.flatnonzero(framed)
    piece, depths = framed.ravel()[inside] - 1, depth.ravel()[inside]
    return np.stack([np.bincount(piece, minlength=count), np.bincount(piece, depths, count)])


def _touching(above: np.ndarray, below: np.ndarray, reach: int) -> np.ndarray:
    """Which labels of two planes, counted from 0, have pixels at most `reach` rows and columns apart; (2, pairs).

    Pixels around a pixel of a piece are of no other, so that only one with none above it has to look around.
    """
    framed, framed_below = (np.pad(labels, 1).ravel() for labels in (above, below))
    count, places = np.int64(below.max(initial=1)), np.flatnonzero(framed_below)
    labels, over = framed_below[places] - 1, framed[places]
    covered = over > 0
    pairs = [_pairs(over[covered], labels[covered], count)]
    open_labels, open_places = labels[~covered], places[~covered]
    for down, right in product(range(-reach, reach + 1), repeat=2):
        beside = framed[open_places + down * (below.shape[1] + 2) + right]
        pairs.append(_pairs(beside[beside > 0], open_labels[beside > 0], count))
    return np.stack(np.divmod(np.unique(np.concatenate(pairs)), count))


def _pairs(above: np.ndarray, below: np.ndarray, count: np.int64) -> np.ndarray:
    pair = (above - 1) * count + below
    return pair[np.diff(pair, prepend=-1) != 0]  # neighbours in a row are mostly of one pair


def far_errors(
    predicted: np.ndarray, true: np.ndarray, spacing_mm: Sequence[float], limit_mm: float
) -> tuple[int, int]:
    """Wrong pixels of a slice that lie further than `limit_mm` from the true outline: false positives, then negatives.

    A false positive is as far as the nearest pixel of the true mask, all of them in a slice without one; a false
    negative as far as the nearest pixel outside of it.

    Args:
        predicted, true: boolean, (rows, columns).
        spacing_mm: between rows and columns.
    """
    added, missed = predicted & ~true, true & ~predicted
    if not true.any():
        return int(added.sum()), 0
    if not added.any() and not missed.any():
        return 0, 0
    rows, columns = (np.flatnonzero((predicted | true).any(axis=axis)) for axis in (1, 0))
    box = tuple(slice(max(places[0] - 1, 0), places[-1] + 2) for places in (rows, columns))  # with background around
    added, missed, true = added[box], missed[box], true[box]
    outside, inside = (ndimage.distance_transform_edt(m, sampling=spacing_mm) for m in (~true, true))
    return int((outside[added] > limit_mm).sum()), int((inside[missed] > limit_mm).sum())


def check_masks(predicted: np.ndarray, reference: np.ndarray) -> None:
    """Refuse what are not two masks (slices, rows, columns) of one volume.

    Raises:
        ValueError: shapes differ or have not three axes, or values are floating point: probabilities, not a mask.
    """
    if predicted.shape != reference.shape:
        raise ValueError(f"predicted {predicted.shape} and reference {reference.shape} differ in shape")
    if predicted.ndim != 3:
        raise ValueError(f"expected masks of shape (slices, rows, columns), found {predicted.shape}")
    for name, mask in (("predicted", predicted), ("reference", reference)):
        if mask.dtype.kind not in "bui":
            raise ValueError(f"{name}: expected a mask of booleans or integers, found {mask.dtype}; threshold it first")


def checked_spacing(spacing_mm: Sequence[float]) -> np.ndarray:
    """The spacing (z, y, x) as float64 (3,).

    Raises:
        ValueError: it is not three positive numbers.
    """
    spacing = np.asarray(spacing_mm, float)
    if spacing.shape != (3,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ValueError(f"spacing_mm: expected three positive numbers (z, y, x), found {spacing_mm}")
    return spacing
