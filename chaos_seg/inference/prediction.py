"""The mask of one scan, what else its slices told on their way, and what in it is suspicious."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chaos_seg.data.appearance import EVERY, Appearance, AppearanceCounts
from chaos_seg.data.audit import named_slices
from chaos_seg.data.axial import Axial
from chaos_seg.data.greys import as_ct
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.evaluation import masks
from chaos_seg.inference.alarms import Alarms, alarms
from chaos_seg.inference.alarms_page import Pictures
from chaos_seg.inference.confidence import Confidence
from chaos_seg.inference.levels import KeptLevels
from chaos_seg.inference.mask import PackedMask
from chaos_seg.inference.predictor import Predictor

SECOND_SHARE = 0.25  # of the largest part's pixels: one next to it of so many may be liver too


@dataclass(frozen=True)
class Prediction:
    """A scan's mask in its own axes, what else its slices told on their way, and seconds by part."""

    mask: PackedMask
    confidence: Confidence  # of its axial slices, as they lie
    appearance: Appearance
    seconds: dict[str, float]
    doubts: tuple[str, ...] = ()  # what was left out of the mask and may be liver, a sentence


def predict_scan(
    scan: Scan,
    predictor: Predictor,
    threshold: float,
    largest_component: bool,
    fill_holes: bool,
    kept: Sequence[KeptLevels] = (),
) -> Prediction:
    """Liver where 255 * probability is above `threshold`, its largest part alone and its holes filled on demand; the
    probabilities themselves go to `kept`.

    Raises:
        UserError: a slice without content between slices with content.
    """
    axial, seconds, confidence, counts = Axial.of(scan), {"read": 0.0, "network": 0.0}, [], AppearanceCounts()
    seen = axial.scan(scan)
    blank = np.zeros(seen.slices, bool)

    def planes() -> Iterator[np.ndarray]:
        for passes in predictor.passes(_watched(seen, seconds, counts, blank)):
            for one in kept:
                levels = predictor.mean(passes, one.levels.calibrated)
                one.append(axial.plane_back(levels) if axial.streams else levels)
            probability = passes.mean(axis=0)
            plane = probability * 255 > threshold
            confidence.append(Confidence.row(probability, plane))
            yield axial.plane_back(plane) if axial.streams else plane

    started = time.perf_counter()
    mask = PackedMask(planes())
    seconds["network"] = time.perf_counter() - started - seconds["read"]
    order = np.argsort(seen.z_mm, kind="stable")  # file names may have another
    _expect_content(blank[order], order)
    doubts: list[str] = []
    if largest_component or fill_holes:
        mask = PackedMask(mask[rank] for rank in order)
        if largest_component:
            whole, mask = mask, PackedMask(masks.largest_component(mask, seen.spacing_mm[1:]))
            doubts += _second_part(whole, mask, order, seen)
        if fill_holes:
            mask = PackedMask(masks.fill_holes(mask))
        mask = PackedMask(mask[place] for place in np.argsort(order))
    if not axial.streams:
        mask = PackedMask(axial.back(np.stack(mask)))
        for one in kept:
            one.replace(axial.back(np.stack(one)))
    spacing_mm = (seen.step_mm if seen.slices > 1 else math.nan, *seen.spacing_mm[1:])
    return Prediction(mask, Confidence.of(confidence), counts.appearance(spacing_mm), seconds, tuple(doubts))


def _expect_content(blank: np.ndarray, ranks: np.ndarray) -> None:
    """Refuse what is blank between slices with content, given from the lowest on; at a volume's ends it is padding."""
    content = np.flatnonzero(~blank)
    first, last = (content[0], content[-1]) if len(content) else (0, 0)
    if within := sorted(int(ranks[place]) for place in np.flatnonzero(blank) if first < place < last):
        raise UserError(
            f"{named_slices(within, len(blank))}: expected a picture, found one value in all pixels, between slices "
            "with content; restore what was lost, or take it out."
        )


def _second_part(whole: PackedMask, largest: PackedMask, ranks: np.ndarray, scan: Scan) -> Iterator[str]:
    """Whether what is left out of a mask holds a part that is large too; slices are given from the lowest on."""
    rest = PackedMask(plane & ~kept for plane, kept in zip(whole, largest, strict=True))
    enough = SECOND_SHARE * largest.pixels().sum()
    if rest.pixels().sum() < enough:
        return
    pixels = PackedMask(masks.largest_component(rest, scan.spacing_mm[1:])).pixels()
    if pixels.sum() >= enough:
        yield (
            f"left out: a part of {scan.volume_ml(pixels[np.argsort(ranks)]):.0f} ml on "
            f"{named_slices(sorted(ranks[pixels > 0].tolist()), len(ranks))}, apart from the largest, "
            f"{pixels.sum() / largest.pixels().sum():.2f} times as large; look whether it is liver"
        )


def alarms_of(scan: Scan, prediction: Prediction) -> tuple[Alarms, list[str]]:
    """What is suspicious in a scan of axial slices, and pictures of the first of them.

    Each slice is read once at most.
    """
    pictures = Pictures(as_ct(scan), prediction.mask)
    looked = alarms(prediction.mask, pictures.scan, prediction.confidence)
    return looked, pictures.of(looked.slices)


def _watched(scan: Scan, seconds: dict[str, float], counts: AppearanceCounts, blank: np.ndarray) -> Scan:
    """The scan, whose reading is timed and whose slices are counted when they are read first; `blank` is told which of
    them have one value in all pixels.
    """
    counted = set()

    def read(rank: int) -> np.ndarray:
        started = time.perf_counter()
        hu = scan.hu(rank)
        blank[rank] = hu.min() == hu.max()
        seconds["read"] += time.perf_counter() - started
        if rank % EVERY == 0 and rank not in counted:
            counts.add(hu)
            counted.add(rank)
        return hu

    return replace(scan, read=read)
