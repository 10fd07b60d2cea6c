"""Which contrast phase a scan was made in: a guess from the blood in the aorta, which is found in front of the spine.

It stands in the audit's tables, where a radiologist or the protocol knows better; nothing else is decided by it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

LEVELS_HU = (-100, 400)  # beyond, air and bone would outshine the edge of a vessel
TISSUE_HU, BONE_HU = -150, 180
BLOOD_HU = 20  # the least of it, a little below that of blood without contrast
# The spine is bone below the first share of the body's height and between the others of its width. Of several the one
# with most pixels below BACK, at least that share of its own: a stomach full of contrast medium lies above.
SPINE, BACK, MIN_BACK = (0.4, 0.38, 0.62), 0.6, 0.25
# Of the aorta's centre from the vertebra's: mm, and degrees from straight ahead to the patient's left.
AWAY_MM, ANGLE = (22, 48), (-20, 85)
RADII_MM, RIM_MM = (8, 10, 12, 14), 4
PIXEL_MM = (0.3, 3)  # finer would take minutes, and is no body; coarser has no rim
# A disc scores by how far its mean is above that of its rim's quarters, but for one that may be bone, less its spread.
EDGE_HU, SPREAD_WEIGHT = 60, 1.5
TOGETHER_MM, MIN_FOUND, MIN_SCORE = 12, 3, 5
# Blood has 40 HU; in the portal venous phase the aorta has 120 HU more, in the arterial one 300, when the liver has few
# more than without contrast (MDCT of the Liver and Hypervascular Hepatocellular Carcinomas: Optimizing Scan Delays,
# AJR 2006;187:W25). Later phases come down to 90.
ENHANCED_HU, ARTERIAL_HU, ARTERIAL_OVER_LIVER_HU = 70, 180, 90


@dataclass(frozen=True)
class _Disc:
    """The likeliest aorta of a slice: its centre from the vertebra's, and the mean under it."""

    ahead_mm: float
    left_mm: float
    hu: float
    score: float


def aorta_hu(slices: Iterable[np.ndarray], pixel_mm: float) -> float | None:
    """Mean HU of the blood in the aorta, median over slices.

    Args:
        slices: HU (rows, columns) at the height of the liver, the patient's left on the right and the back below.
        pixel_mm: mm from pixel to pixel.

    Returns:
        HU; None where the discs of too few slices lie together, as in a scan without a spine, and where pixels are too
        fine or too coarse.
    """
    if not PIXEL_MM[0] <= pixel_mm <= PIXEL_MM[1]:
        return None
    discs = [disc for hu in slices if (disc := _aorta(hu, pixel_mm)) is not None and disc.score > MIN_SCORE]
    if len(discs) < MIN_FOUND:
        return None
    surest = sorted(discs, key=lambda disc: disc.score)[len(discs) // 2 :]
    ahead, left = np.median([(disc.ahead_mm, disc.left_mm) for disc in surest], axis=0)
    together = [disc.hu for disc in discs if np.hypot(disc.ahead_mm - ahead, disc.left_mm - left) <= TOGETHER_MM]
    return round(float(np.median(together)), 1) if len(together) >= MIN_FOUND else None


def contrast_phase(aorta_hu: float | None, liver_hu: float | None) -> str | None:
    """unenhanced, arterial, or venous (portal venous or later); None when the aorta was not found."""
    if aorta_hu is None or liver_hu is None:
        return None
    if aorta_hu < ENHANCED_HU:
        return "unenhanced"
    is_arterial = aorta_hu >= ARTERIAL_HU and aorta_hu - liver_hu >= ARTERIAL_OVER_LIVER_HU
    return "arterial" if is_arterial else "venous"


def _aorta(hu: np.ndarray, pixel_mm: float) -> _Disc | None:
    """The disc around the front of the vertebra that is most alike inside and brightest over its rim."""
    vertebra = _vertebra(hu)
    if vertebra is None:
        return None
    reach = round((AWAY_MM[1] + RADII_MM[-1] + RIM_MM) / pixel_mm) + 1
    row, column = vertebra
    around = np.pad(np.clip(hu, *LEVELS_HU).astype(np.float32), reach, mode="edge")
    around = around[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
    down, left = np.mgrid[-reach : reach + 1, -reach : reach + 1] * pixel_mm
    away, angle = np.hypot(down, left), np.degrees(np.arctan2(left, -down))
    allowed = (away >= AWAY_MM[0]) & (away <= AWAY_MM[1]) & (angle >= ANGLE[0]) & (angle <= ANGLE[1])
    best = None
    for radius_mm in RADII_MM:
        disc, *rim = _kernels(radius_mm / pixel_mm, (radius_mm + RIM_MM) / pixel_mm)
        mean = cv2.filter2D(around, -1, disc)
        spread = np.sqrt(np.maximum(cv2.filter2D(around**2, -1, disc) - mean**2, 0))
        brightest = np.sort([cv2.filter2D(around, -1, quarter) for quarter in rim], axis=0)[-2]
        score = np.minimum(mean - brightest, EDGE_HU) - SPREAD_WEIGHT * spread
        score[~allowed | (mean < BLOOD_HU)] = -np.inf
        at = np.unravel_index(score.argmax(), score.shape)
        if best is None or score[at] > best.score:
            best = _Disc(-float(down[at]), float(left[at]), float(mean[at]), float(score[at]))
    return best


def _kernels(radius: float, outer: float) -> Iterator[np.ndarray]:
    """Means over a disc and over each quarter of the rim around it, radii in pixels."""
    size = int(np.ceil(outer))
    down, right = np.mgrid[-size : size + 1, -size : size + 1]
    away = np.hypot(down, right)
    rim = (away > radius) & (away <= outer)
    sides = (down >= np.abs(right), -down >= np.abs(right), right > np.abs(down), -right > np.abs(down))
    for part in (away <= radius, *(rim & side for side in sides)):
        yield (part / np.count_nonzero(part)).astype(np.float32)


def _vertebra(hu: np.ndarray) -> tuple[int, int] | None:
    """Row and column of a vertebra's middle."""
    body = _largest(cv2.morphologyEx((hu > TISSUE_HU).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
    if body is None:
        return None
    x, y, width, height = cv2.boundingRect(body)
    top, left, right = y + round(SPINE[0] * height), x + round(SPINE[1] * width), x + round(SPINE[2] * width)
    bone = np.zeros_like(body)
    bone[top:, left:right] = (hu[top:, left:right] > BONE_HU) & (body[top:, left:right] > 0)
    closed = cv2.morphologyEx(bone, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    back = y + round(BACK * height)
    spine = _largest(closed, back)
    if spine is None or np.count_nonzero(spine[back:]) < MIN_BACK * np.count_nonzero(spine):
        return None
    outlines, _ = cv2.findContours(spine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    spine = cv2.drawContours(spine, outlines, -1, 1, cv2.FILLED)  # an old vertebra is no bone within
    depth = cv2.GaussianBlur(cv2.distanceTransform(spine, cv2.DIST_L2, 3), (0, 0), 3)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row), int(column)


def _largest(mask: np.ndarray, below: int = 0) -> np.ndarray | None:
    """The connected part of a mask with most pixels from row `below` on, uint8; None when there is none."""
    count, labels = cv2.connectedComponents(mask)
    pixels = np.bincount(labels[below:].ravel(), minlength=count)[1:]
    return (labels == 1 + pixels.argmax()).astype(np.uint8) if pixels.any() else None
