"""Alarms without labels: which slices of a predicted liver, and which scans, a person should look at first, and why.

Each measure of a slice is a guess of the Dice that it costs: an island of share s, were it all wrong, leaves
2 (1 - s) / (2 - s), passes that agree with Dice d are taken to agree so with the truth. The score joins them as if
independent, 1 - product of (1 - cost). No weight is fitted; benchmarks/qc_alarms.py measures what the score is worth.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy import ndimage

from chaos_seg.data.audit import LIVER_GOES_ON, LIVER_HU, LIVER_HU_STD, LIVER_ML, named_slices
from chaos_seg.data.dicom import HU_RANGE
from chaos_seg.data.measures import FAT_HU, PADDING_HU
from chaos_seg.evaluation.masks import largest_component

NAMED = 0.05  # a cost from which a measure counts and is named; true masks reach it by their ends and lobes
GAP_MM = 20.0  # a longer stretch without a mask is no gap: what lies beyond is a part of its own
HU_OFF = (55, LIVER_HU_STD)  # a slice's median from the scan's: cost 0 to 1; sound masks have a spread of 25 to 55 HU
END_SHARE = 0.5  # of the cost of a first or last slice's overlap: where a liver ends it narrows by nature
MIN_END_PX = 30
PARTS_SHARE = 0.01  # of the volume, outside of its largest part; at most 0.004 of any slice in sound masks
HU_TOLERANCE, SPACING_TOLERANCE = 40.0, 0.2  # beyond what training saw: HU, and a share of the spacing
MIN_COLD_SHARE = 0.01  # a CT has air or fat: fewer such pixels are MR, or a lost rescale
BODY_PERCENTILES = (5, 50, 95)
EVERY = 4  # a fingerprint's slices; neighbours look alike


@dataclass(frozen=True)
class SliceAlarm:
    """A slice to look at. `rank` counts from 0, the reasons' words from 1; the costliest reason comes first."""

    rank: int
    score: float  # in (0, 1], a rough guess of 1 - Dice
    reasons: tuple[str, ...]


def disagreement(masks: np.ndarray) -> float:
    """1 - mean Dice over all pairs of passes over one slice, bool (passes, rows, columns); 0 when all are empty.

    Roy et al., NeuroImage 195 (2019) 11-22, take the mean Dice of samples to predict the Dice with the truth.
    """
    return 1 - float(np.mean([_dice(a, b) for a, b in combinations(masks, 2)] or [1.0]))


def slice_alarms(
    mask: np.ndarray,
    hu: Callable[[int], np.ndarray],
    spacing_mm: Sequence[float],
    disagreement: np.ndarray | None = None,
) -> list[SliceAlarm]:
    """The suspicious slices of a scan, those without a mask at gaps and ends included, most suspicious first.

    Args:
        mask: predicted, bool (slices, rows, columns).
        hu: a slice's HU by its rank, int16 (rows, columns); asked for at slices with a mask and at the ends alone.
        spacing_mm: between slices, rows and columns.
        disagreement: of each slice, (slices,), see disagreement(); None leaves it out.

    Raises:
        ValueError: the mask has not three axes, or another number of slices than `disagreement`.
    """
    if mask.ndim != 3:
        raise ValueError(f"expected a mask of shape (slices, rows, columns), found {mask.shape}")
    if disagreement is not None and disagreement.shape != mask.shape[:1]:
        raise ValueError(f"expected a disagreement for each of {len(mask)} slices, found {disagreement.shape}")
    liver = _Liver(mask.astype(bool, copy=False), hu, spacing_mm)
    alarms = []
    for rank in range(len(mask)):
        costs = [*liver.costs(rank)]
        if disagreement is not None and liver.is_near(rank):
            costs.append((float(disagreement[rank]), f"passes disagree: Dice {1 - disagreement[rank]:.2f} among them"))
        named = sorted((one for one in costs if one[0] >= NAMED), key=lambda one: -one[0])
        if named:
            score = 1 - float(np.prod([1 - cost for cost, _ in named]))
            alarms.append(SliceAlarm(rank, score, tuple(reason for _, reason in named)))
    return sorted(alarms, key=lambda alarm: (-alarm.score, alarm.rank))


def scan_alarms(mask: np.ndarray, hu: Callable[[int], np.ndarray], spacing_mm: Sequence[float]) -> list[str]:
    """What is suspicious in a scan as a whole, a sentence each; arguments as slice_alarms() takes them."""
    liver = _Liver(mask.astype(bool, copy=False), hu, spacing_mm)
    if not len(liver.labelled):
        return ["no liver was found"]
    n, found = len(mask), []
    ends = [name for name, rank in (("first", 0), ("last", n - 1)) if rank in liver.labelled]
    millilitres = float(liver.area_cm2.sum()) * spacing_mm[0] / 10
    known = spacing_mm[0] > 0.01  # NaN for a single slice
    if known and (millilitres > LIVER_ML[1] or (millilitres < LIVER_ML[0] and not ends)):
        found.append(f"a liver of {millilitres:.0f} ml; expected {LIVER_ML[0]} to {LIVER_ML[1]} ml")
    if liver.gaps:
        found.append(f"a gap along z: no mask on {named_slices(liver.gaps, n)}, between slices with liver")
    if ends:
        found.append(f"the mask reaches the {' and the '.join(ends)} slice: the liver may go on beyond the scan")
    if touching := [rank for rank in liver.labelled.tolist() if _on_edge(mask[rank])]:
        found.append(f"the mask touches the picture's edge on {named_slices(touching, n)}")
    apart = 1 - sum(np.count_nonzero(plane) for plane in liver.main.values()) / np.count_nonzero(mask)
    if apart > PARTS_SHARE:
        found.append(f"several parts: {100 * apart:.1f} % of the mask is apart from its largest part")
    low, middle, high = liver.quartiles
    if not LIVER_HU[0] <= middle <= LIVER_HU[1]:
        found.append(f"{middle:.0f} HU under the mask (median); a liver has {LIVER_HU[0]} to {LIVER_HU[1]} HU")
    elif (high - low) / 1.349 > LIVER_HU_STD:  # of a normal distribution's standard deviation
        found.append(f"half of the HU under the mask lie between {low:.0f} and {high:.0f}; a liver's are closer")
    return found


class _Liver:
    """What the measures need of a predicted mask: its slices, areas, largest part, gaps and HU."""

    def __init__(self, mask: np.ndarray, hu: Callable[[int], np.ndarray], spacing_mm: Sequence[float]):
        self.mask, self.hu = mask, hu
        self.area_cm2 = np.count_nonzero(mask, axis=(1, 2)) * spacing_mm[1] * spacing_mm[2] / 100
        self.labelled = np.flatnonzero(self.area_cm2)
        self.gaps: list[int] = []
        stack: list[int | None] = [int(self.labelled[0])] if len(self.labelled) else []
        for above, below in pairwise(self.labelled.tolist()):
            if below - above > 1 and (below - above - 1) * spacing_mm[0] > GAP_MM:
                stack.append(None)  # parts beyond a long stretch don't touch
            else:
                self.gaps += range(above + 1, below)
            stack.append(below)
        # A short gap is closed first, or all that lies beyond it would be an island.
        empty = np.zeros(mask.shape[1:], bool)
        planes = [empty if rank is None else mask[rank] for rank in stack]
        parts = largest_component(np.stack(planes)) if planes else mask[:0]
        self.main = {rank: part for rank, part in zip(stack, parts, strict=True) if rank is not None}
        histogram = _Histogram()
        self.medians = {}
        for rank in self.main:
            under = hu(rank)[mask[rank]]
            histogram.add(under)
            self.medians[rank] = float(np.median(under))
        self.quartiles = histogram.percentiles((25, 50, 75)) if planes else (0.0, 0.0, 0.0)
        self.beyond = {rank: (share, end) for rank, share, end in self._gone_on()}

    def is_near(self, rank: int) -> bool:
        """Whether the slice or one beside it has a mask: further off, specks of one pass would say nothing."""
        return bool(self.area_cm2[max(rank - 1, 0) : rank + 2].any())

    def costs(self, rank: int) -> Iterator[tuple[float, str]]:
        """The Dice that each measure of a slice may cost, with the reason in words."""
        if rank in self.main:
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
        said = f"{area:.1f} cm², beside it {' and '.join(f'{other:.1f}' for other in areas)} cm²"
        overlap = max(_dice(self.mask[rank], self.mask[other]) for other in beside)
        share = 1.0 if len(beside) == 2 else END_SHARE
        yield share * (1 - overlap), f"differs from its neighbours: Dice {overlap:.2f} with the more alike ({said})"
        if len(beside) == 2:  # a liver narrows and widens, but no true slice is an extreme by more than 2 %
            ratio = min(1.0, area / areas.min(), areas.max() / area)
            yield (1 - ratio) / (1 + ratio), f"area jumps: {said}"

    def _in_plane(self, rank: int) -> Iterator[tuple[float, str]]:
        plane = self.mask[rank]
        pixels = np.count_nonzero(plane)
        island = 1 - np.count_nonzero(self.main[rank]) / pixels
        yield island / (2 - island), f"island: {100 * island:.0f} % of the mask is apart from the largest part"
        filled = np.count_nonzero(ndimage.binary_fill_holes(plane))
        hole = 1 - pixels / filled
        yield hole / (2 - hole), f"holes: {100 * hole:.0f} % of what the outline holds"
        off = abs(self.medians[rank] - self.quartiles[1])
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
        empty = self.area_cm2 == 0
        empty[self.gaps] = False
        for nearest in self.main:
            if not empty[max(nearest - 1, 0) : nearest + 2].any():
                continue
            core = ndimage.binary_erosion(self.mask[nearest], np.ones((3, 3), bool))
            if np.count_nonzero(core) < MIN_END_PX:
                continue
            for step in (-1, 1):
                rank = nearest + step
                while 0 <= rank < len(empty) and empty[rank]:
                    share = float((np.abs(self.hu(rank)[core] - middle) < spread).mean())
                    if share <= LIVER_GOES_ON:
                        break
                    yield rank, share, nearest
                    rank += step


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def _on_edge(plane: np.ndarray) -> int:
    """Pixels of a mask (rows, columns) in the picture's outermost rows and columns."""
    return int(np.count_nonzero(plane) - np.count_nonzero(plane[1:-1, 1:-1]))


class _Histogram:
    """HU counted one by one, so that percentiles of a scan need one slice in memory."""

    def __init__(self) -> None:
        self.counts = np.zeros(HU_RANGE[1] - HU_RANGE[0] + 1, np.int64)

    def add(self, hu: np.ndarray) -> None:
        bins = np.clip(hu.astype(np.int64), *HU_RANGE) - HU_RANGE[0]
        self.counts += np.bincount(bins.ravel(), minlength=len(self.counts))

    def percentiles(self, of: Sequence[float]) -> tuple[float, ...]:
        """In HU, for percentages `of`; NaN when nothing was counted."""
        total = np.cumsum(self.counts)
        if not total[-1]:
            return tuple(float("nan") for _ in of)
        return tuple(float(np.searchsorted(total, total[-1] * share / 100)) + HU_RANGE[0] for share in of)


@dataclass(frozen=True)
class Fingerprint:
    """What a scan looks like to the network before any mask: its spacing and the HU of the body."""

    spacing_mm: tuple[float, ...]  # z, y, x
    body_hu: tuple[float, ...]  # BODY_PERCENTILES of what is denser than fat
    cold_share: float  # of pixels below FAT_HU that the scanner measured

    @classmethod
    def of(cls, slices: Iterable[np.ndarray], spacing_mm: Sequence[float]) -> "Fingerprint":
        """Of int16 HU (rows, columns) slice by slice, and mm between slices, rows and columns."""
        body, cold, pixels = _Histogram(), 0, 0
        for hu in slices:
            body.add(hu[hu > FAT_HU])
            cold += int(np.count_nonzero((hu < FAT_HU) & (hu >= PADDING_HU)))
            pixels += hu.size
        return cls(tuple(float(step) for step in spacing_mm), body.percentiles(BODY_PERCENTILES), cold / max(pixels, 1))

    @classmethod
    def sampled(cls, hu: Callable[[int], np.ndarray], slices: int, spacing_mm: Sequence[float]) -> "Fingerprint":
        """Of every EVERY-th slice of a scan, whose slices `hu` reads by their rank."""
        return cls.of((hu(rank) for rank in range(0, slices, EVERY)), spacing_mm)


@dataclass(frozen=True)
class TrainingRange:
    """The least and the greatest of each value in the fingerprints of the scans that a model was trained on.

    Plain numbers: dataclasses.asdict() goes into a checkpoint or JSON, TrainingRange(**that) comes back.
    """

    spacing_mm: tuple[Sequence[float], Sequence[float]]  # low and high (z, y, x)
    body_hu: tuple[Sequence[float], Sequence[float]]  # low and high of BODY_PERCENTILES

    @classmethod
    def of(cls, scans: Sequence[Fingerprint]) -> "TrainingRange":
        """Raises ValueError without scans."""
        spacing, body = np.array([scan.spacing_mm for scan in scans]), np.array([scan.body_hu for scan in scans])
        return cls(
            (spacing.min(axis=0).tolist(), spacing.max(axis=0).tolist()),
            (body.min(axis=0).tolist(), body.max(axis=0).tolist()),
        )


def unlike_training(scan: Fingerprint, training: TrainingRange | None) -> list[str]:
    """How a scan differs from what the model was trained on, a sentence each; `training` None is unknown, and said."""
    found = []
    if scan.cold_share < MIN_COLD_SHARE:
        found.append(f"{100 * scan.cold_share:.1f} % of pixels are air or fat: no CT in HU, or a lost rescale")
    if training is None:
        return [*found, "unknown whether it is like the training data: the checkpoint does not say"]
    for name, value, low, high in zip(("z", "y", "x"), scan.spacing_mm, *training.spacing_mm, strict=True):
        if np.isfinite(value) and not low / (1 + SPACING_TOLERANCE) <= value <= high * (1 + SPACING_TOLERANCE):
            found.append(f"spacing along {name} is {value:.2f} mm; training saw {low:.2f} to {high:.2f} mm")
    for percent, value, low, high in zip(BODY_PERCENTILES, scan.body_hu, *training.body_hu, strict=True):
        if not low - HU_TOLERANCE <= value <= high + HU_TOLERANCE:
            found.append(
                f"{percent} % of the body lies below {value:.0f} HU; in training that was {low:.0f} to {high:.0f} HU"
            )
    return found
