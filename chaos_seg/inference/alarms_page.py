"""The alarms of scans without labels as one HTML page: what each scan has, then its slices to look at, worst first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chaos_seg.data.scan import Scan
from chaos_seg.inference.alarms import SliceAlarm
from chaos_seg.reporting.overlays import slice_picture
from chaos_seg.reporting.page import as_jpeg, data_uri, render

SHOWN = 12  # slices of a scan


@dataclass(frozen=True)
class ScanSection:
    """A scan on the page. It holds pictures, not the scan: those of many scans fit into memory."""

    name: str
    slices: int
    volume_ml: float
    findings: Sequence[str]  # of alarms() and unlike_training()
    alarms: Sequence[SliceAlarm]  # worst first, all of them
    pictures: Sequence[str]  # data URIs of the first SHOWN


class Pictures:
    """The slices of a scan with its predicted outlines, drawn as the slices are read: no slice is read twice.

    Which slices the page shows is known when all were looked at; until then a picture takes a tenth of its slice.

    Args:
        scan: whose slices are drawn.
        mask: predicted, slices of bool (rows, columns).
    """

    def __init__(self, scan: Scan, mask: Sequence[np.ndarray] | np.ndarray):
        self._scan, self._mask = scan, mask
        self._drawn: dict[int, bytes] = {}

    @property
    def scan(self) -> Scan:
        """The same scan, which keeps a picture of each slice that is read."""
        return replace(self._scan, read=self._read)

    def _read(self, rank: int) -> np.ndarray:
        plane = self._scan.hu(rank)
        self._drawn[rank] = _picture(self._scan, plane, self._mask[rank])
        return plane

    def of(self, alarms: Sequence[SliceAlarm]) -> list[str]:
        """Of the first SHOWN as data URIs; those that were not read yet are read now."""
        for alarm in alarms[:SHOWN]:
            if alarm.rank not in self._drawn:
                self._read(alarm.rank)
        return [data_uri(self._drawn[alarm.rank], "jpeg") for alarm in alarms[:SHOWN]]


def alarms_page(scans: Sequence[ScanSection], synthetic: bool) -> str:
    """The page of several scans in the order given; `synthetic` when any of them is a phantom's."""
    page = render("qc.html", scans=scans, synthetic=synthetic, shown=SHOWN)
    return page.encode(errors="backslashreplace").decode()  # a scan's name is a folder's, whose bytes may be no UTF-8


def _picture(scan: Scan, hu: np.ndarray, predicted: np.ndarray) -> bytes:
    """The slice, cut to the body and wherever the mask lies, with the predicted mask, as JPEG."""
    return as_jpeg(slice_picture(scan, hu, np.zeros_like(predicted), predicted))
