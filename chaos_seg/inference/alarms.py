"""Alarms without labels: which slices of a predicted liver, and which scans, a person should look at first, and why.

Each measure of a slice is a guess of the Dice that it costs: an island of share s, were it all wrong, leaves
2 (1 - s) / (2 - s), passes that agree with Dice d are taken to agree so with the truth. The score joins them as if
independent, 1 - product of (1 - cost). No weight is fitted; benchmarks/qc_alarms.py measures what the score is worth.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise

import numpy as np
from scipy import ndimage

from chaos_seg.data.appearance import HuHistogram
from chaos_seg.data.audit import LIVER_GOES_ON, LIVER_HU, LIVER_HU_STD, LIVER_ML, named_slices
from chaos_seg.data.scan import Scan
from chaos_seg.evaluation.masks import pixels_in_largest_component

NAMED = 0.05  # a cost from which a measure counts and is named; true masks reach it by their ends and lobes
GAP_MM = 20.0  # a longer stretch without a mask is no gap: what lies beyond is a part of its own
HU_OFF = (55, LIVER_HU_STD)  # a slice's median from the scan's: cost 0 to 1; sound masks have a spread of 25 to 55 HU
END_SHARE = 0.5  # of the cost of a first or last slice's overlap: where a liver ends it narrows by nature
MIN_END_PX = 30
PARTS_SHARE = 0.01  # of the volume, outside of its largest part; at most 0.004 of any slice in sound masks


@dataclass(frozen=True)
class SliceAlarm:
    """A slice to look at. `rank` counts from 0, the reasons' words from 1; the costliest reason comes first."""

    rank: int
    score: float  # in (0, 1], a rough guess of 1 - Dice
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Alarms:
    """What is suspicious in a scan as a whole, a sentence each, and its suspicious slices, worst first."""

    findings: list[str]
    slices: list[SliceAlarm]


def disagreement(masks: np.ndarray) -> float:
    """1 - mean Dice over all pairs of passes over one slice, bool (passes, rows, columns); 0 when all are empty.

    Roy et al., NeuroImage 195 (2019) 11-22, take the mean Dice of samples to predict the Dice with the truth.
    """
    return 1 - float(np.mean([_likeness(a, b) for a, b in combinations(masks, 2)] or [1.0]))


def alarms(mask: Sequence[np.ndarray] | np.ndarray, scan: Scan, disagreement: np.ndarray | None = None) -> Alarms:
    """What a person should look at in a scan; slices without a mask, at gaps and ends, may be among it.

    Args:
        mask: predicted, slices of bool (rows, columns).
        scan: its slices are read once where there is a mask, then once beyond its ends as far as the liver seems to
            go on.
        disagreement: of each slice, (slices,), see disagreement(); None leaves it out.

    Raises:
        ValueError: the mask has not three axes, or another number of slices than `disagreement`.
    """
    if len(mask) and mask[0].ndim != 2:
        raise ValueError(f"expected a mask of shape (slices, rows, columns), found slices of shape {mask[0].shape}")
    if disagreement is not None and disagreement.shape != (len(mask),):
        raise ValueError(f"expected a disagreement for each of {len(mask)} slices, found {disagreement.shape}")
    liver, slices = LiverInScan(mask, scan), []
    for rank in range(len(mask)):
        costs = [*liver.costs(rank)]
        if disagreement is not None and liver.is_near(rank):
            costs.append((float(disagreement[rank]), f"passes disagree: Dice {1 - disagreement[rank]:.2f} among them"))
        named = sorted((one for one in costs if one[0] >= NAMED), key=lambda one: -one[0])
        if named:
            score = 1 - float(np.prod([1 - cost for cost, _ in named]))
            slices.append(SliceAlarm(rank, score, tuple(reason for _, reason in named)))
    return Alarms([*liver.findings()], sorted(slices, key=lambda alarm: (-alarm.score, alarm.rank)))


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
        self.medians = {}
        for rank in self.pixels_in_main:
            under = scan.hu(rank)[mask[rank]]
            histogram.add(under)
            self.medians[rank] = float(np.median(under))
        self.quartiles = histogram.percentiles((25, 50, 75)) if stack else (0.0, 0.0, 0.0)
        self.beyond = {rank: (share, end) for rank, share, end in self._gone_on()}

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
        apart = 1 - sum(self.pixels_in_main.values()) / self.pixels.sum()
        if apart > PARTS_SHARE:
            yield f"several parts: {100 * apart:.1f} % of the mask is apart from its largest part"
        if self.scan.modality != "CT":
            return
        low, middle, high = self.quartiles
        if not LIVER_HU[0] <= middle <= LIVER_HU[1]:
            yield f"{middle:.0f} HU under the mask (median); a liver has {LIVER_HU[0]} to {LIVER_HU[1]} HU"
        elif (high - low) / 1.349 > LIVER_HU_STD:  # of a normal distribution's standard deviation
            yield f"half of the HU under the mask lie between {low:.0f} and {high:.0f}; a liver's are closer"

    def is_near(self, rank: int) -> bool:
        """Whether the slice or one beside it has a mask: further off, specks of one pass would say nothing."""
        return bool(self.area_cm2[max(rank - 1, 0) : rank + 2].any())

    def costs(self, rank: int) -> Iterator[tuple[float, str]]:
        """The Dice that each measure of a slice may cost, with the reason in words."""
        if self.pixels[rank]:
            yield from self._along_z(rank)
            yield from self._in_plane(rank)
        elif rank in self.gaps:
            yield 1.0, "gap: no mask between slices with liver"
        elif rank in self.beyond:
            share, end = self.beyond[rank]
            yield share, f"no mask, but {100 * share:.0f} % of what slice {end + 1}'s covers has the liver's HU here"

    def _along_z(self, rank: int) -> Iterator[tuple[float, str]]:
        place = int(np.searchsorted(self.labelled, rank))
        beside = [int(self.labelled[p]) for p in (place - 1, place + 1) if 0 <= p < len(self.labelled)]
        if not beside:
            yield 1.0, "the only slice with a mask"
            return
        area, areas = self.area_cm2[rank], self.area_cm2[beside]
        areas_in_words = f"{area:.1f} cm², beside it {' and '.join(f'{other:.1f}' for other in areas)} cm²"
        overlap = max(_likeness(self.mask[rank], self.mask[other]) for other in beside)
        share = 1.0 if len(beside) == 2 else END_SHARE
        yield (
            share * (1 - overlap),
            f"differs from its neighbours: Dice {overlap:.2f} with the more alike ({areas_in_words})",
        )
        if len(beside) == 2:  # a liver narrows and widens, but no true slice is an extreme by more than 2 %
            ratio = min(1.0, area / areas.min(), areas.max() / area)
            yield (1 - ratio) / (1 + ratio), f"area jumps: {areas_in_words}"

    def _in_plane(self, rank: int) -> Iterator[tuple[float, str]]:
        plane = self.mask[rank]
        pixels = self.pixels[rank]
        island = 1 - self.pixels_in_main[rank] / pixels
        yield island / (2 - island), f"island: {100 * island:.0f} % of the mask is apart from the largest part"
        filled = np.count_nonzero(ndimage.binary_fill_holes(plane))
        hole = 1 - pixels / filled
        yield hole / (2 - hole), f"holes: {100 * hole:.0f} % of what the outline holds"
        off = abs(self.medians[rank] - self.quartiles[1]) if self.scan.modality == "CT" else 0.0
        yield (
            float(np.clip((off - HU_OFF[0]) / (HU_OFF[1] - HU_OFF[0]), 0, 1)),
            f"HU unlike the liver's: median {self.medians[rank]:.0f} HU, of the whole mask {self.quartiles[1]:.0f} HU",
        )
        edge = _on_edge(plane)
        yield min(1.0, edge / np.sqrt(pixels)), f"at the picture's edge: {edge} pixels of the mask touch it"

    def _gone_on(self) -> Iterator[tuple[int, float, int]]:
        """Empty slices where the liver goes on beyond its mask: rank, share that looks like it, the mask's rank."""
        low, middle, high = self.quartiles
        spread = 2 * (high - low) / 1.349  # two standard deviations of a normal distribution
        empty = self.pixels == 0
        empty[self.gaps] = False
        cores = {}
        for end in self.labelled.tolist():
            if empty[max(end - 1, 0) : end + 2].any():
                core = ndimage.binary_erosion(self.mask[end], np.ones((3, 3), bool))
                if np.count_nonzero(core) >= MIN_END_PX:
                    cores[end] = core

        @cache  # between two parts a slice may be looked at from both
        def shares(rank: int) -> dict[int, float]:
            hu, place = self.scan.hu(rank), int(np.searchsorted(self.labelled, rank))
            ends = self.labelled[max(place - 1, 0) : place + 1].tolist()
            return {end: float((np.abs(hu[cores[end]] - middle) < spread).mean()) for end in ends if end in cores}

        for end in cores:
            for step in (-1, 1):
                rank = end + step
                while 0 <= rank < len(empty) and empty[rank]:
                    share = shares(rank)[end]
                    if share <= LIVER_GOES_ON:
                        break
                    yield rank, share, end
                    rank += step


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two predicted masks; 1 where both are empty, for they agree (counts.dice, with a truth, is NaN there)."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def _on_edge(plane: np.ndarray) -> int:
    """Pixels of a mask (rows, columns) in the picture's outermost rows and columns."""
    return int(np.count_nonzero(plane) - np.count_nonzero(plane[1:-1, 1:-1]))
