"""What a scan looks like to the network before any mask, and how that differs from what it was trained on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaos_seg.data.dicom import HU_RANGE
from chaos_seg.data.measures import FAT_HU, PADDING_HU
from chaos_seg.data.scan import Scan

HU_TOLERANCE, SPACING_TOLERANCE = 40.0, 0.2  # beyond what training saw: HU, and a share of the spacing
MIN_COLD_SHARE = 0.01  # a CT has air or fat: fewer such pixels are MR, or a lost rescale
BODY_PERCENTILES = (5, 50, 95)
EVERY = 4  # slices looked at; neighbours look alike


class HuHistogram:
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
class Appearance:
    """What a scan looks like to the network before any mask: its spacing, the HU of the body, and how much of the body
    a picture holds, which is what the network's own pixels are a part of.
    """

    spacing_mm: tuple[float, ...]  # z, y, x
    body_hu: tuple[float, ...]  # BODY_PERCENTILES of what is denser than fat
    cold_share: float  # of pixels below FAT_HU that the scanner measured
    field_mm: tuple[float, ...] = ()  # of view: y, x; empty where it is not known

    @classmethod
    def of(cls, slices: Iterable[np.ndarray], spacing_mm: Sequence[float]) -> "Appearance":
        """Of int16 HU (rows, columns) slice by slice, and mm between slices, rows and columns."""
        counts = AppearanceCounts()
        for hu in slices:
            counts.add(hu)
        return counts.appearance(spacing_mm)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> "Appearance":
        """Of what asdict() gave to JSON, where a value that there is not is null."""
        spacing, body, field = (
            tuple(float("nan") if v is None else v for v in written.get(key, ()))
            for key in ("spacing_mm", "body_hu", "field_mm")
        )
        return cls(spacing, body, written["cold_share"], field)

    @classmethod
    def sampled(cls, scan: Scan) -> "Appearance":
        """Of every EVERY-th slice of a scan."""
        return cls.of((scan.hu(rank) for rank in range(0, scan.slices, EVERY)), scan.mean_spacing_mm)


class AppearanceCounts:
    """The HU that a Appearance is made of, counted slice by slice."""

    def __init__(self) -> None:
        self._body, self._cold, self._pixels = HuHistogram(), 0, 0
        self._shape: tuple[int, ...] = ()

    def add(self, hu: np.ndarray) -> None:
        """Count a slice of int16 HU (rows, columns)."""
        self._body.add(hu[hu > FAT_HU])
        self._cold += int(np.count_nonzero((hu < FAT_HU) & (hu >= PADDING_HU)))
        self._pixels += hu.size
        self._shape = hu.shape

    def appearance(self, spacing_mm: Sequence[float]) -> Appearance:
        """With mm between slices, rows and columns."""
        cold_share = self._cold / max(self._pixels, 1)
        field_mm = tuple(n * float(mm) for n, mm in zip(self._shape, spacing_mm[1:], strict=False))
        return Appearance(tuple(map(float, spacing_mm)), self._body.percentiles(BODY_PERCENTILES), cold_share, field_mm)


@dataclass(frozen=True)
class TrainingRange:
    """The least and the greatest of each value in the appearances of the scans that a model was trained on.

    Plain numbers: dataclasses.asdict() goes into a checkpoint or JSON, TrainingRange(**that) comes back.
    """

    spacing_mm: tuple[Sequence[float], Sequence[float]]  # low and high (z, y, x)
    body_hu: tuple[Sequence[float], Sequence[float]]  # low and high of BODY_PERCENTILES
    modality: str = "CT"  # MR has no unit: its greys tell nothing
    field_mm: tuple[Sequence[float], Sequence[float]] = ((), ())  # of view: (y, x); older checkpoints don't say

    @classmethod
    def of(cls, scans: Sequence[Appearance], modality: str = "CT") -> "TrainingRange":
        """Raises ValueError without scans."""
        spacing, body, field = (
            (np.min(values, axis=0).tolist(), np.max(values, axis=0).tolist())
            for values in zip(*[(scan.spacing_mm, scan.body_hu, scan.field_mm) for scan in scans], strict=True)
        )
        return cls(spacing, body, modality, field)


@dataclass(frozen=True)
class _Beside:
    """A value of a scan beside the least and the greatest of training."""

    what: str
    value: float
    low: float
    high: float
    beyond: bool
    sentence: str


def _beside(scan: Appearance, training: TrainingRange) -> Iterator[_Beside]:
    for name, value, low, high in zip(("z", "y", "x"), scan.spacing_mm, *training.spacing_mm, strict=True):
        within = low / (1 + SPACING_TOLERANCE) <= value <= high * (1 + SPACING_TOLERANCE)
        beyond = bool(np.isfinite(value)) and not within
        sentence = f"spacing along {name} is {value:.2f} mm; training saw {low:.2f} to {high:.2f} mm"
        yield _Beside(f"spacing along {name}, mm", value, low, high, beyond, sentence)
    for name, value, low, high in zip(("y", "x"), scan.field_mm, *training.field_mm, strict=False):
        within = low / (1 + SPACING_TOLERANCE) <= value <= high * (1 + SPACING_TOLERANCE)
        beyond = bool(np.isfinite(value)) and not within
        sentence = f"the picture is {value:.0f} mm along {name}; training saw {low:.0f} to {high:.0f} mm"
        yield _Beside(f"picture along {name}, mm", value, low, high, beyond, sentence)
    if training.modality == "CT":
        for percent, value, low, high in zip(BODY_PERCENTILES, scan.body_hu, *training.body_hu, strict=True):
            beyond = bool(np.isfinite(value)) and not low - HU_TOLERANCE <= value <= high + HU_TOLERANCE
            lies = f"{percent} % of the body lies below"
            sentence = f"{lies} {value:.0f} HU; in training that was {low:.0f} to {high:.0f} HU"
            yield _Beside(f"{lies}, HU", value, low, high, beyond, sentence)


def unlike_training(scan: Appearance, training: TrainingRange | None) -> list[str]:
    """How a scan differs from what the model was trained on, a sentence each; `training` None is unknown, and said."""
    sentences = []
    if scan.cold_share < MIN_COLD_SHARE and (training is None or training.modality == "CT"):
        sentences.append(f"{100 * scan.cold_share:.1f} % of pixels are air or fat: no CT in HU, or a lost rescale")
    if training is None:
        return [*sentences, "unknown whether it is like the training data: the checkpoint does not say"]
    return sentences + [one.sentence for one in _beside(scan, training) if one.beyond]


def drift(scans: Sequence[Appearance], training: Sequence[TrainingRange]) -> list[dict[str, Any]]:
    """Of each value what models were trained on, from the least to the greatest, the same of these scans, and how many
    of them lie beyond what one of the models has seen.
    """
    table: dict[str, dict[str, Any]] = {}
    for scan in scans:
        beyond: dict[str, bool] = {}
        for one in [one for ranges in training for one in _beside(scan, ranges)]:
            row = table.setdefault(
                one.what, {"what": one.what, "training": [one.low, one.high], "scans": [one.value] * 2, "beyond": 0}
            )
            row["training"] = [min(row["training"][0], one.low), max(row["training"][1], one.high)]
            row["scans"] = [float(np.fmin(row["scans"][0], one.value)), float(np.fmax(row["scans"][1], one.value))]
            beyond[one.what] = beyond.get(one.what, False) or one.beyond
        for what, is_beyond in beyond.items():
            table[what]["beyond"] += is_beyond
    return [*table.values()]
