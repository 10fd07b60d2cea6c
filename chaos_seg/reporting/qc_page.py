"""The alarms of scans without labels as one HTML page: what each scan has, then its slices to look at, worst first."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from chaos_seg.evaluation.alarms import SliceAlarm
from chaos_seg.reporting.overlays import body_box, overlay
from chaos_seg.reporting.page import data_uri, render

SHOWN = 12  # slices of a scan


@dataclass(frozen=True)
class ScanSection:
    """A scan on the page. It holds pictures, not the scan: those of many scans fit into memory."""

    name: str
    slices: int
    volume_ml: float
    findings: Sequence[str]  # of scan_alarms() and unlike_training()
    alarms: Sequence[SliceAlarm]  # worst first, all of them
    pictures: Sequence[str]  # data URIs of the first SHOWN


def scan_section(
    name: str,
    mask: Sequence[np.ndarray] | np.ndarray,
    hu: Callable[[int], np.ndarray],
    volume_ml: float,
    findings: Sequence[str],
    alarms: Sequence[SliceAlarm],
) -> ScanSection:
    """Draw a scan's most suspicious slices.

    Args:
        mask: predicted, slices of bool (rows, columns).
        hu: a slice's HU by its rank, int16 (rows, columns).
    """
    pictures = [_picture(hu(alarm.rank), mask[alarm.rank]) for alarm in alarms[:SHOWN]]
    return ScanSection(name, len(mask), volume_ml, list(findings), list(alarms), pictures)


def qc_page(scans: Sequence[ScanSection], synthetic: bool) -> str:
    """The page of several scans in the order given; `synthetic` when any of them is a phantom's."""
    return render("qc.html", scans=scans, synthetic=synthetic, shown=SHOWN)


def _picture(hu: np.ndarray, predicted: np.ndarray) -> str:
    """The slice, cut to the body and wherever the mask lies, with the predicted outline."""
    picture = overlay(hu, np.zeros_like(predicted), predicted)
    factor = picture.shape[0] // hu.shape[0]
    box = []
    for axis, body in enumerate(body_box(hu)):
        places = [body.start, body.stop - 1, *np.flatnonzero(predicted.any(axis=1 - axis)).tolist()]
        box.append(slice(min(places) * factor, (max(places) + 1) * factor))
    file = io.BytesIO()
    Image.fromarray(picture[box[0], box[1]]).save(file, "jpeg", quality=88, subsampling=0)  # a quarter of a PNG
    return data_uri(file.getvalue(), "jpeg")
