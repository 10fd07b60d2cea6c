"""The mask of one scan, what else its slices told on their way, and what in it is suspicious."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chaos_seg.data.appearance import EVERY, Appearance, AppearanceCounts
from chaos_seg.data.axial import Axial
from chaos_seg.data.greys import as_ct
from chaos_seg.data.scan import Scan
from chaos_seg.evaluation import masks
from chaos_seg.inference.alarms import Alarms, alarms
from chaos_seg.inference.alarms_page import Pictures
from chaos_seg.inference.confidence import Confidence
from chaos_seg.inference.levels import KeptLevels
from chaos_seg.inference.mask import PackedMask
from chaos_seg.inference.predictor import Predictor


@dataclass(frozen=True)
class Prediction:
    """A scan's mask in its own axes, what else its slices told on their way, and seconds by part."""

    mask: PackedMask
    confidence: Confidence  # of its axial slices, as they lie
    appearance: Appearance
    seconds: dict[str, float]


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
    """
    axial, seconds, confidence, counts = Axial.of(scan), {"read": 0.0, "network": 0.0}, [], AppearanceCounts()

    def planes() -> Iterator[np.ndarray]:
        for passes in predictor.passes(_watched(axial.scan(scan), seconds, counts)):
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
    if largest_component:  # of axial slices, which it opens
        axes = (1, 2) if axial.streams else axial.axes[1:]
        mask = PackedMask(masks.largest_component(mask, [scan.spacing_mm[axis] for axis in axes]))
    if not axial.streams:
        mask = PackedMask(axial.back(np.stack(mask)))
        for one in kept:
            one.replace(axial.back(np.stack(one)))
    if fill_holes:
        mask = PackedMask(masks.fill_holes(mask))
    spacing_mm = (scan.step_mm if scan.shape[0] > 1 else math.nan, *scan.spacing_mm[1:])
    return Prediction(mask, Confidence.of(confidence), counts.appearance(spacing_mm), seconds)


def alarms_of(scan: Scan, prediction: Prediction) -> tuple[Alarms, list[str]]:
    """What is suspicious in a scan of axial slices, and pictures of the first of them.

    Each slice is read once at most.
    """
    pictures = Pictures(as_ct(scan), prediction.mask)
    looked = alarms(prediction.mask, pictures.scan, prediction.confidence)
    return looked, pictures.of(looked.slices)


def _watched(scan: Scan, seconds: dict[str, float], counts: AppearanceCounts) -> Scan:
    """The scan, whose reading is timed and whose slices are counted when they are read first."""
    counted = set()

    def read(rank: int) -> np.ndarray:
        started = time.perf_counter()
        hu = scan.hu(rank)
        seconds["read"] += time.perf_counter() - started
        if rank % EVERY == 0 and rank not in counted:
            counts.add(hu)
            counted.add(rank)
        return hu

    return replace(scan, read=read)
