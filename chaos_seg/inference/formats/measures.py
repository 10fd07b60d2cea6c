"""What is measured of a mask, and a picture of it, for a reader who opens no volume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from chaos_seg.data.appearance import HuHistogram
from chaos_seg.data.scan import Scan
from chaos_seg.files import atomic_file, write_csv
from chaos_seg.inference.formats import Writer
from chaos_seg.registry import FORMATS
from chaos_seg.reporting.overlays import slice_picture

FILE = "measures.csv"
TILE, ACROSS, DOWN = 360, 4, 3  # pixels, and pictures in a row and in a column


@FORMATS.register("measures")
def measures(scan: Scan) -> Writer:
    """measures.csv, and summary.csv of all scans beside summary.json."""
    return Writer(lambda mask, folder: write_csv(folder / FILE, [measured(scan, mask)]))


@FORMATS.register("preview")
def preview(scan: Scan) -> Writer:
    """preview.png, twelve slices of the liver with its mask."""

    def write(mask: Sequence[np.ndarray], folder: Path) -> None:
        with atomic_file(folder / "preview.png") as file:
            file.write(cv2.imencode(".png", cv2.cvtColor(montage(scan, mask), cv2.COLOR_RGB2BGR))[1].tobytes())

    return Writer(write)


def measured(scan: Scan, mask: Sequence[np.ndarray]) -> dict[str, Any]:
    """Volume in ml, mean and median HU under the mask, slices; HU of an empty mask are NaN."""
    counted, total, pixels = HuHistogram(), 0, np.array([np.count_nonzero(plane) for plane in mask])
    for rank in np.flatnonzero(pixels).tolist():
        under = scan.hu(rank)[mask[rank]]
        counted.add(under)
        total += int(under.sum(dtype=np.int64))
    return {
        "scan": scan.name,
        "slices": scan.slices,
        "slices_with_liver": int((pixels > 0).sum()),
        "volume_ml": scan.volume_ml(pixels),
        "mean_hu": total / int(pixels.sum()) if pixels.any() else float("nan"),
        "median_hu": counted.percentiles((50,))[0],
    }


def montage(scan: Scan, mask: Sequence[np.ndarray]) -> np.ndarray:
    """ACROSS x DOWN slices, evenly from the mask's first to its last, of the whole scan without one: uint8 RGB."""
    labelled = [rank for rank in range(len(mask)) if mask[rank].any()] or [0, len(mask) - 1]
    ranks = np.unique(np.rint(np.linspace(labelled[0], labelled[-1], ACROSS * DOWN)).astype(int)).tolist()
    rows = -(-len(ranks) // ACROSS)
    sheet = np.zeros((rows * TILE, ACROSS * TILE, 3), np.uint8)
    for number, rank in enumerate(ranks):
        picture = slice_picture(scan, scan.hu(rank), np.zeros_like(mask[rank]), mask[rank])
        scale = (TILE - 4) / max(picture.shape[:2])
        tile = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        top, left = (number // ACROSS) * TILE, (number % ACROSS) * TILE
        down, across = (TILE - tile.shape[0]) // 2, (TILE - tile.shape[1]) // 2
        sheet[top + down : top + down + tile.shape[0], left + across : left + across + tile.shape[1]] = tile
        words = f"slice {rank + 1} of {scan.slices}{', SYNTHETIC' if scan.synthetic else ''}"
        cv2.putText(sheet, words, (left + 6, top + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1, cv2.LINE_AA)
    return sheet
