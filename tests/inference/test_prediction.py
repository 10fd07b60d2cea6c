"""How often predict reads each slice: once for the network, once for the alarms and their page."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.data.appearance import EVERY, Appearance
from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.evaluation.masks import largest_component
from chaos_seg.inference.alarms_page import SHOWN
from chaos_seg.inference.prediction import alarms_of, predict_scan

SLICES, SIZE = 60, 48


def counted(scan: Scan, reads: Counter[int]) -> Scan:
    """A scan that counts how often each slice is read."""

    def read(rank: int) -> np.ndarray:
        reads[rank] += 1
        return scan.hu(rank)

    return replace(scan, read=read)


class Given:
    """Stands for a model: its passes are masks that are there."""

    def __init__(self, *masks: np.ndarray):
        self.masks = np.stack(masks)

    def passes(self, scan: Scan) -> Iterator[np.ndarray]:
        for rank in range(scan.slices):
            scan.hu(rank)
            yield self.masks[:, rank].astype(np.float32)


@pytest.mark.parametrize(
    ("post", "passes"), [((False, False), 1), ((False, False), 3), ((True, False), 1), ((True, True), 3)]
)
def test_no_slice_is_read_more_than_twice(
    write_series: Callable[..., list[Path]], tmp_path: Path, post: tuple[bool, bool], passes: int
) -> None:
    """The liver goes on beyond the mask at both ends and in a long stretch; there are gaps, islands and holes."""
    rows, columns = np.indices((SIZE, SIZE))
    hu = np.full((SLICES, SIZE, SIZE), -100)
    hu[4:56, (rows - 24) ** 2 + (columns - 20) ** 2 < 15**2] = 100
    hu[:, :, :3] = -1000
    mask = hu == 100
    hu += np.random.default_rng(0).integers(-15, 15, hu.shape)
    mask[:8] = mask[30:36] = mask[12] = mask[20:22] = mask[50:] = False
    mask[10:28:3, 40:44, 40:46] = True
    mask[14, 20:28, 16:24] = mask[40, 20:28, 16:24] = False
    write_series(tmp_path, hu, np.zeros(3), np.array([[0, 0, -5.0], [0, 4.0, 0], [4.0, 0, 0]]))
    reads = Counter[int]()
    scan = counted(find_scans(tmp_path).scans[0].open(), reads)
    model: Any = Given(mask, *[np.roll(mask, k, axis=2) for k in range(1, passes)])
    prediction = predict_scan(scan, model, 127, *post)
    spacing_mm = (5.0, 4.0, 4.0)
    assert prediction.appearance == Appearance.of((scan.hu(rank) for rank in range(0, SLICES, EVERY)), spacing_mm)
    reads.subtract(range(0, SLICES, EVERY))
    assert reads == Counter(range(SLICES)) and (prediction.confidence.dice == 1) == (passes == 1)
    found, pictures = alarms_of(scan, prediction)
    reasons = " ".join(reason for alarm in found.slices for reason in alarm.reasons)
    assert len(pictures) == min(SHOWN, len(found.slices))
    if not post[0]:
        assert (
            len(found.slices) > SHOWN and "island:" in reasons and any("several parts" in one for one in found.findings)
        )
    assert set(reads) == set(range(SLICES)) and max(reads.values()) == 2


def test_the_largest_part_is_that_of_axial_slices_however_a_scan_lies(
    write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((10, 40, 44)), (0.5, 2, 2)) > 0
    hu, (z, y, x) = np.where(mask, 100, -100), np.diag([3.0, 1.5, 6.0])[::-1]
    write_series(tmp_path / "axial", hu, np.zeros(3), np.array([z, y, x]))
    write_series(tmp_path / "sagittal", hu.transpose(2, 1, 0), np.zeros(3), np.array([x, y, z]))
    for name, axes in (("axial", (0, 1, 2)), ("sagittal", (2, 1, 0))):
        scan = find_scans(tmp_path / name).scans[0].open()
        model: Any = type("Threshold", (), {"passes": lambda _, seen: (seen.hu(k)[None] > 0.0 for k in range(10))})()
        found = np.stack(predict_scan(scan, model, 127, True, False).mask).transpose(axes)
        given = np.stack([scan.hu(rank) > 0 for rank in range(scan.slices)]).transpose(axes)
        assert 0 < found.sum() < given.sum() and np.array_equal([*largest_component(given, (1.5, 3.0))], found)
