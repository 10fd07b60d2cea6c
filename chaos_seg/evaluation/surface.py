"""HD95 and surface Dice as MONAI computes them; the same masks give other values elsewhere, so name MONAI beside them.

What MONAI (1.5 to 1.6) does, in compute_hausdorff_distance and compute_surface_dice:
- A mask's edge is `V ^ binary_erosion(V)` with the 6-neighbour cross, where what lies outside the volume counts as
  background. (The challenge counts it as foreground, see masks.border; they differ for a liver that leaves the volume.)
- Distances are Euclidean in mm, from each edge voxel to the nearest one of the other mask, as float32.
- HD95 is the larger of the two directions' 95th percentiles, each linearly interpolated (torch.quantile), not the
  percentile of both directions in one pool.
- Surface Dice is the share of both masks' edge voxels (their number, not their area: use_subvoxels=False) that lie no
  further than the tolerance from the other's.
"""

import math
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from chaos_seg.errors import UserError
from chaos_seg.evaluation.masks import bounding_box, check_masks, checked_spacing


def monai_version() -> str | None:
    """The version of MONAI that is installed; None without."""
    try:
        return version("monai")
    except PackageNotFoundError:
        return None


def hd95_mm(predicted: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """MONAI's 95th percentile Hausdorff distance of two masks (slices, rows, columns); NaN when either is empty.

    Raises:
        UserError: MONAI is not installed.
        ValueError: not two masks of one volume, or spacing is not three positive numbers.
    """
    check_masks(predicted, reference)
    if not predicted.any() or not reference.any():
        return math.nan
    return _monai("compute_hausdorff_distance", predicted, reference, spacing_mm, percentile=95)


def surface_dice(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """MONAI's (normalized) surface Dice of two masks (slices, rows, columns) at a tolerance in mm, 0 to 1.

    0 when one mask is empty, NaN when both are.

    Raises:
        UserError: MONAI is not installed.
        ValueError: not two masks of one volume, spacing is not three positive numbers, or the tolerance is negative.
    """
    check_masks(predicted, reference)
    if not predicted.any() or not reference.any():
        return 0.0 if predicted.any() or reference.any() else math.nan
    return _monai("compute_surface_dice", predicted, reference, spacing_mm, class_thresholds=[tolerance_mm])


def _monai(
    function: str, predicted: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float], **options: Any
) -> float:
    spacing = checked_spacing(spacing_mm).tolist()
    try:
        import torch  # seconds to import, as is MONAI, which is optional
        from monai import metrics
    except ImportError:
        raise UserError(
            "HD95 and surface Dice: expected MONAI, found none; install it with pip install -e '.[monai]' or leave "
            "these two out."
        ) from None
    # MONAI surrounds the masks with background, so cutting them to the box that holds both changes only the memory.
    box = bounding_box(predicted | reference)
    masks = [torch.from_numpy(mask[box].astype(bool))[None, None] for mask in (predicted, reference)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # 1.6 warns of an argument that it passes itself
        return float(getattr(metrics, function)(*masks, include_background=True, spacing=spacing, **options))
