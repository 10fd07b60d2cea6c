"""HD95 and surface Dice, equal to MONAI's; the same masks give other values elsewhere, so name MONAI beside them.

What MONAI (1.5 to 1.6) does, in compute_hausdorff_distance and compute_surface_dice:
- A mask's edge is `V ^ binary_erosion(V)` with the 6-neighbour cross, where what lies outside the volume counts as
  background. (The challenge counts it as foreground, see masks.border; they differ for a liver that leaves the volume.)
- Distances are Euclidean in mm, from each edge voxel to the nearest one of the other mask, as float32.
- HD95 is the larger of the two directions' 95th percentiles, each linearly interpolated (torch.quantile), not the
  percentile of both directions in one pool.
- Surface Dice is the share of both masks' edge voxels (their number, not their area: use_subvoxels=False) that lie no
  further than the tolerance from the other's.

Computed here, since MONAI's distance transforms take a minute where a bad mask marks most of a scan.
"""

import math
from collections.abc import Sequence

import numpy as np

from chaos_seg.evaluation.distances import border_distances
from chaos_seg.evaluation.masks import check_masks, checked_spacing


def hd95_and_surface_dice(
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    distances_mm: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[float, float]:
    """95th percentile Hausdorff distance in mm, and (normalized) surface Dice at a tolerance in mm, 0 to 1.

    Of two masks (slices, rows, columns). When one is empty they are NaN and 0, when both are NaN and NaN.
    `distances_mm` is BorderDistances.mm(ends=True), where it is known.

    Raises:
        ValueError: not two masks of one volume, or spacing is not three positive numbers.
    """
    check_masks(predicted, reference)
    checked_spacing(spacing_mm)
    if not predicted.any() or not reference.any():
        return math.nan, 0.0 if predicted.any() or reference.any() else math.nan
    exact = distances_mm or border_distances([predicted], reference, spacing_mm)[0].mm(ends=True)
    there, back = (mm.astype(np.float32) for mm in exact)
    near = np.count_nonzero(there <= tolerance_mm) + np.count_nonzero(back <= tolerance_mm)
    return float(max(np.percentile(there, 95), np.percentile(back, 95))), near / (len(there) + len(back))
