"""The CHAOS challenge's metrics of one patient, equal to its evaluation code, in the time of the voxels that matter.

DICE, RAVD, ASSD, MSSD and the score of A. E. Kavur et al., "CHAOS Challenge - combined (CT-MR) healthy abdominal organ
segmentation", Medical Image Analysis 69 (2021), as computed by emrekavur/CHAOS-evaluation.

Distances are those that KD-trees over all border voxels give (distances.py), up to the rounding of a sum; borders are
sought in the box around each mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chaos_seg.evaluation.distances import border_distances
from chaos_seg.evaluation.masks import bounding_box, check_masks, checked_spacing, intersection

# The challenge's thresholds: no points below DICE_LIMIT, none above the others.
DICE_LIMIT = 0.8
RAVD_LIMIT_PERCENT, ASSD_LIMIT_MM, MSSD_LIMIT_MM = 5.0, 15.0, 60.0


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


def chaos_scores(
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    distances_mm: tuple[np.ndarray, np.ndarray] | None = None,
) -> ChaosScores:
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
        distances_mm: BorderDistances.mm(ends=False), where it is known.

    Raises:
        ValueError: shapes differ or have not three axes, masks of floating point, or spacing that is not three positive
            numbers.
    """
    check_masks(predicted, reference)
    checked_spacing(spacing_mm)
    boxes = bounding_box(predicted, margin=1), bounding_box(reference, margin=1)
    sizes = [int(np.count_nonzero(mask[box])) for mask, box in zip((predicted, reference), boxes, strict=True)]
    if not any(sizes):
        return ChaosScores(math.nan, math.nan, math.nan, math.nan)
    both = intersection(*boxes)
    common = int(np.count_nonzero(predicted[both].astype(bool) & reference[both].astype(bool)))
    there, back = distances_mm or border_distances([predicted], reference, spacing_mm)[0].mm(ends=False)
    assd, mssd = _surface_distances(there, back)
    return ChaosScores(
        dice=2 * common / sum(sizes),
        ravd_percent=abs(sizes[0] - sizes[1]) / sizes[1] * 100 if sizes[1] else math.nan,
        assd_mm=assd,
        mssd_mm=mssd,
    )


def _points(value: float, limit: float) -> float:
    return 100 * (limit - value) / limit if value <= limit else 0.0  # NaN is not below the limit


def _surface_distances(there: np.ndarray, back: np.ndarray) -> tuple[float, float]:
    """ASSD and MSSD in mm; NaN when one of the masks has no border."""
    if not there.size or not back.size:
        return math.nan, math.nan
    # The official code's order of sums: a more exact sum differs from its ASSD in the last digit.
    return float((there.sum() + back.sum()) / (len(there) + len(back))), float(max(there.max(), back.max()))
