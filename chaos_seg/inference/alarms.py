"""Alarms without labels: which slices of a predicted liver, and which scans, a person should look at first, and why.

Each measure of a slice is a guess of the Dice that it costs: an island of share s, were it all wrong, leaves
2 (1 - s) / (2 - s); see Confidence.doubt. The score joins them as if independent, 1 - product of (1 - cost). No weight
is fitted; benchmarks/failure_detection.py measures what the score is worth, and what it would be without each measure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from chaos_seg.data.appearance import HuHistogram
from chaos_seg.data.audit import LIVER_HU, LIVER_HU_STD, LIVER_ML, named_slices
from chaos_seg.data.scan import Scan
from chaos_seg.evaluation.masks import bounding_box, pixels_in_largest_component
from chaos_seg.inference.confidence import Confidence

NAMED = 0.05  # a cost from which a measure counts and is named; true masks reach it by their ends and lobes
GAP_MM = 20.0  # a longer stretch without a mask is no gap: what lies beyond is a part of its own
HU_OFF = (55, LIVER_HU_STD)  # a slice's median from the scan's: cost 0 to 1; sound masks have a spread of 25 to 55 HU
END_SHARE = 0.5  # of the cost of a first or last slice's overlap: where a liver ends it narrows by nature
WIDE_MM, WIDE_STEPS = 16.0, 5  # mm, and distances of two slices: what is narrower of a mask may end between them
SAME_HU = 25.0  # between two slices, smoothed over SMOOTH pixels: more than noise, less than from liver to fat or lung
SMOOTH = 5
PARTS_SHARE = 0.01  # of the volume, outside of its largest part; at most 0.004 of any slice in sound masks


@dataclass(frozen=True)
class SliceAlarm:
    """A slice to look at. `rank` counts from 0, the reasons' words from 1; the costliest reason comes first."""

    rank: int
    score: float  # in (0, 1], a rough guess of 1 - Dice
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Alarms:
    """What is suspicious in a scan as a whole, a sentence each, and its suspicious slices, worst first.

    `dice` is a guess of the scan's: what the probabilities expect, were all that is apart from the largest part wrong;
    NaN without a mask.
    """

    findings: list[str]
    slices: list[SliceAlarm]
    dice: float


def alarms(mask: Sequence[np.ndarray] | np.ndarray, scan: Scan, confidence: Confidence) -> Alarms:
    """What a person should look at in a scan; slices without a mask may be among it.

    Args:
        mask: predicted, slices of bool (rows, columns).
        scan: its slices are read once where there is a mask, and beside it.
        confidence: of the slices; it does not count where post-processing took all of a slice's mask away.

    Raises:
        ValueError: the mask has not three axes, or another number of slices than `confidence`.
    """
    if len(mask) and mask[0].ndim != 2:
        raise ValueError(f"expected a mask of shape (slices, rows, columns), found slices of shape {mask[0].shape}")
    if confidence.pixels.shape != (len(mask),):
        raise ValueError(f"expected the confidence of each of {len(mask)} slices, found {confidence.pixels.shape}")
    liver, slices = LiverInScan(mask, scan), []
    doubts = np.where((liver.pixels == 0) & (confidence.pixels > 0), 0.0, confidence.doubt)
    for rank, doubt in enumerate(doubts.tolist()):
        costs = [*liver.costs(rank)]
        if liver.pixels[rank]:
            costs.append((doubt, f"unsure: its own probabilities expect a Dice of {1 - doubt:.2f}"))
        else:
            costs.append((doubt, f"no mask, but a probability of liver of {doubt:.2f}"))
        named = sorted((one for one in costs if one[0] >= NAMED), key=lambda one: -one[0])
        if named:
            score = 1 - float(np.prod([1 - cost for cost, _ in named]))
            slices.append(SliceAlarm(rank, score, tuple(reason for _, reason in named)))
    apart = liver.apart()
    dice = float(confidence.dice * (1 - apart / (2 - apart)))
    return Alarms([*liver.findings()], sorted(slices, key=lambda alarm: (-alarm.score, alarm.rank)), dice)


class LiverInScan:
    """What the measures need of a predicted mask: its slices, areas, largest part, gaps and HU."""

    def __init__(self, mask: Sequence[np.ndarray] | np.ndarray, scan: Scan):
        self.mask, self.scan, spacing_mm = mask, scan, scan.spacing_mm
        self.pixels = np.array([np.count_nonzero(plane) for plane in mask], int)
        self.area_cm2 = self.pixels * spacing_mm[1] * spacing_mm[2] / 100
        self.step_known = len(mask) > 1 and spacing_mm[0] > 0.01
        self.labelled = np.flatnonzero(self.pixels)
        self.gaps: list[int] = []
        stack: list[int | None] = [int(self.labelled[0])] if len(self.labelled) else []
        for above, below in pairwise(self.labelled.tolist()):
            if below - above > 1 and (below - above - 1) * spacing_mm[0] > GAP_MM:
                stack.append(None)  # parts beyond a long stretch don't touch
            else:
                self.gaps += range(above + 1, below)
            stack.append(below)
        # A short gap is closed first, or all that lies beyond it would be an island.
        planes = (np.zeros_like(mask[0]) if rank is None else mask[rank] for rank in stack)
        in_main = zip(stack, pixels_in_largest_component(planes), strict=True)
        self.pixels_in_main = {rank: pixels for rank, pixels in in_main if rank is not None}
        histogram = HuHistogram()
        self.medians: dict[int, float] = {}
        self.goes_on: dict[int, tuple[float, int]] = {}  # of a slice cm² of mask that it lacks, and the slice with them
        beside = np.clip(self.labelled[:, None] + [-1, 0, 1], 0, len(mask) - 1)
        before: tuple[int, np.ndarray] | None = None
        for rank in np.unique(beside).tolist():
            hu = scan.hu(rank)
            if self.pixels[rank]:
                under = hu[mask[rank]]
                histogram.add(under)
                self.medians[rank] = float(np.median(under))
            if before and before[0] == rank - 1 and scan.modality == "CT":
                apart_mm = abs(float(scan.z_mm[rank] - scan.z_mm[rank - 1]))
                for less, more, hus in ((rank - 1, rank, (before[1], hu)), (rank, rank - 1, (hu, before[1]))):
                    cm2 = _wide_cm2(mask[more] & ~mask[less], hus, (apart_mm, *spacing_mm[1:]))
                    if self.pixels_in_main.get(more) and cm2 > self.goes_on.get(less, (0.0, more))[0]:
                        self.goes_on[less] = cm2, more
            before = rank, hu
        self.quartiles = histogram.percentiles((25, 50, 75)) if stack else (0.0, 0.0, 0.0)

    def apart(self) -> float:
        """Share of the mask that is apart from its largest part; 0 without a mask."""
        return 1 - sum(self.pixels_in_main.values()) / self.pixels.sum() if len(self.labelled) else 0.0

    def findings(self) -> Iterator[str]:
        """What is suspicious in the scan as a whole, a sentence each."""
        volume_ml = self.scan.volume_ml(self.pixels)
        if not len(self.labelled):
            yield "no liver was found"
            return
        n = len(self.mask)
        ends = [name for name, rank in (("first", 0), ("last", n - 1)) if self.pixels[rank]]
        if self.step_known and (volume_ml > LIVER_ML[1] or (volume_ml < LIVER_ML[0] and not ends)):
            yield f"a liver of {volume_ml:.0f} ml; expected {LIVER_ML[0]} to {LIVER_ML[1]} ml"
        if self.gaps:
            yield f"a gap along z: no mask on {named_slices(self.gaps, n)}, between slices with liver"
        if ends:
            yield f"the mask reaches the {' and the '.join(ends)} slice: the liver may go on beyond the scan"
        if touching := [rank for rank in self.labelled.tolist() if _on_edge(self.mask[rank])]:
            yield f"the mask touches the picture's edge on {named_slices(touching, n)}"
        if self.apart() > PARTS_SHARE:
            yield f"several parts: {100 * self.apart():.1f} % of the mask is apart from its largest part"
        if self.scan.modality != "CT":
            return
        low, middle, high = self.quartiles
        if not LIVER_HU[0] <= middle <= LIVER_HU[1]:
            yield f"{middle:.0f} HU under the mask (median); a liver has {LIVER_HU[0]} to {LIVER_HU[1]} HU"
        elif (high - low) / 1.349 > LIVER_HU_STD:  # of a normal distribution's standard deviation
            yield f"half of the HU under the mask lie between {low:.0f} and {high:.0f}; a liver's are closer"

    def costs(self, rank: int) -> Iterator[tuple[float, str]]:
        """The Dice that each measure of a slice may cost, with the reason in words."""
        if rank in self.goes_on:
            cm2, other = self.goes_on[rank]
            share = 1.0 if self.pixels[rank] or rank in self.gaps else END_SHARE
            yield (
                share * cm2 / (2 * float(self.area_cm2[rank]) + cm2),
                f"goes on: {cm2:.1f} cm² outlined on slice {other + 1} have the same HU here, outside of the mask",
            )
        if not self.pixels[rank]:
            return
        yield from self._along_z(rank)
        island = 1 - self.pixels_in_main[rank] / self.pixels[rank]
        yield island / (2 - island), f"island: {100 * island:.0f} % of the mask is apart from the largest part"
        off = abs(self.medians[rank] - self.quartiles[1]) if self.scan.modality == "CT" else 0.0
        yield (
            float(np.clip((off - HU_OFF[0]) / (HU_OFF[1] - HU_OFF[0]), 0, 1)),
            f"HU unlike the liver's: median {self.medians[rank]:.0f} HU, of the whole mask {self.quartiles[1]:.0f} HU",
        )

    def _along_z(self, rank: int) -> Iterator[tuple[float, str]]:
        place = int(np.searchsorted(self.labelled, rank))
        beside = [int(self.labelled[p]) for p in (place - 1, place + 1) if 0 <= p < len(self.labelled)]
        if not beside:
            yield 1.0, "the only slice with a mask"
            return
        areas = " and ".join(f"{other:.1f}" for other in self.area_cm2[beside])
        overlap = max(_likeness(self.mask[rank], self.mask[other]) for other in beside)
        share = 1.0 if len(beside) == 2 else END_SHARE
        yield (
            share * (1 - overlap),
            f"differs from its neighbours: Dice {overlap:.2f} with the more alike "
            f"({self.area_cm2[rank]:.1f} cm², beside it {areas} cm²)",
        )


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two predicted masks; 1 where both are empty, for they agree (counts.dice, with a truth, is NaN there)."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def _wide_cm2(more: np.ndarray, hus: tuple[np.ndarray, np.ndarray], spacing_mm: Sequence[float]) -> float:
    """In cm² what a slice has `more` of mask (rows, columns) than the one beside it, where that is wide and both have
    the same HU, a liver's: a lobe that a model lost in the one, or made up in the other.
    """
    apart_mm, *plane_mm = spacing_mm
    wide_mm = max(WIDE_MM, WIDE_STEPS * apart_mm)  # of a distance that is not known WIDE_MM
    sides = [2 * round(wide_mm / mm / 2) + 1 for mm in plane_mm]  # odd, or the opened mask is moved
    _, *box = bounding_box(more[None], margin=SMOOTH)
    if any(side > n.stop - n.start for side, n in zip(sides, box, strict=True)):
        return 0.0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, sides[::-1])
    cut = more[*box].astype(np.uint8)
    wide = cv2.morphologyEx(cut, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if not wide.any():
        return 0.0
    here, there = (cv2.blur(hu[*box].astype(np.float32), (SMOOTH, SMOOTH)) for hu in hus)
    alike = (np.abs(here - there) < SAME_HU) & (here > LIVER_HU[0]) & (here < LIVER_HU[1])
    pixels = np.count_nonzero(wide & alike)
    return float(pixels * np.prod(plane_mm) / 100) if pixels >= np.count_nonzero(disc) else 0.0


def _on_edge(plane: np.ndarray) -> int:
    """Pixels of a mask (rows, columns) in the picture's outermost rows and columns."""
    return int(np.count_nonzero(plane) - np.count_nonzero(plane[1:-1, 1:-1]))
