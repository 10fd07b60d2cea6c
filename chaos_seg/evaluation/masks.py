"""Boolean volumes (slices, rows, columns): the box that holds a mask, its border, its largest component."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

Box = tuple[slice, slice, slice]


def bounding_box(mask: np.ndarray, margin: int = 0) -> Box:
    """The smallest box that holds all of `mask`, wider by up to `margin` voxels inside the volume; empty for none."""
    z = np.flatnonzero(np.any(mask, axis=(1, 2)))
    if not len(z):
        return slice(0, 0), slice(0, 0), slice(0, 0)
    plane = np.any(mask[z[0] : z[-1] + 1], axis=0)  # only the slices that matter: most of a CT has no liver
    found = z, np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    low = [max(int(axis[0]) - margin, 0) for axis in found]
    high = [int(axis[-1]) + 1 + margin for axis in found]  # a slice may end behind the volume
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def intersection(a: Box, b: Box) -> Box:
    """What both boxes hold; an empty box when that is nothing."""
    z, y, x = (slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return z, y, x  # numpy takes nothing where a slice starts behind its end


def border(mask: np.ndarray) -> np.ndarray:
    """Voxels of the boolean `mask` with a background voxel among their 6 neighbours.

    What lies outside the volume counts as foreground, so a mask has no border where it leaves the volume, and one that
    fills it has none at all: `V ^ binary_erosion(V, cross, border_value=1)` of the challenge's evaluation code
    (emrekavur/CHAOS-evaluation, CHAOSmetrics.py). Its PDF says 26 neighbours; its code does not.
    """
    inside = mask.copy()
    for axis in range(mask.ndim):
        here, there = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)
        here[1:] &= there[:-1]
        here[:-1] &= there[1:]
    return mask & ~inside


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask (slices, rows, columns), as bool; of equals the first along the volume.

    Voxels are connected through faces, edges and corners (26 neighbours, MONAI's default too): slices lie further
    apart than pixels, so that a thin lobe may go on in the next slice with no pixel above another.
    """
    result = np.zeros(mask.shape, bool)
    box = bounding_box(mask)
    labels, components = ndimage.label(mask[box], np.ones((3, 3, 3), bool))
    if components:
        result[box] = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return result


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """A mask (slices, rows, columns) with the holes that it closes in all three dimensions, as bool.

    What touches the volume's end is no hole; background is connected through faces (6 neighbours).
    """
    result = mask.astype(bool)
    box = bounding_box(result)
    result[box] = ndimage.binary_fill_holes(result[box])
    return result


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
    box = tuple(slice(max(found[0] - 1, 0), found[-1] + 2) for found in (rows, columns))  # with background around
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
