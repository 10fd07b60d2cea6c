"""How often predict reads each slice, once for the network and once for the alarms; which parts it keeps."""

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
from chaos_seg.errors import UserError
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
        prediction = predict_scan(scan, model, 127, True, False)
        found = np.stack(prediction.mask).transpose(axes)
        assert prediction.appearance.spacing_mm == pytest.approx((6, 1.5, 3))  # z, y and x of the body
        given = np.stack([scan.hu(rank) > 0 for rank in range(scan.slices)]).transpose(axes)
        assert 0 < found.sum() < given.sum() and np.array_equal([*largest_component(given, (1.5, 3.0))], found)


STEPS = np.array([[0, 0, -3.0], [0, 3.0, 0], [3.0, 0, 0]])


def upper_and_lower(hole: int) -> np.ndarray:
    """HU of a liver in two parts, with a slice between them that has none; an opening leaves 396 of 400 pixels."""
    hu = np.full((20, 40, 40), -100)
    hu[2:18, 8:28, 8:28] = 100
    hu[hole] = -100
    hu[:, 0, 0] = -1000
    return hu


@pytest.mark.parametrize("blank", ["in the middle", "at the end"])
def test_a_blank_slice_within_a_scan_is_refused_and_one_at_its_end_is_padding(
    write_series: Callable[..., list[Path]], tmp_path: Path, blank: str
) -> None:
    hu = upper_and_lower(9)
    hu[9] = 0
    if blank == "at the end":
        hu = hu[:10]
    write_series(tmp_path, hu, np.zeros(3), STEPS)
    scan = find_scans(tmp_path).scans[0].open()
    model: Any = Given(hu > 0)
    if blank == "at the end":
        assert predict_scan(scan, model, 127, True, False).mask.pixels().sum() == 7 * 396
        return
    with pytest.raises(
        UserError, match=r"^slice 10 of 20: expected a picture, found one value in all pixels, between slices"
    ):
        predict_scan(scan, model, 127, True, False)


def test_a_second_part_that_is_large_too_is_said_with_its_slices(
    write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    hu = upper_and_lower(9)  # 7 slices above, 8 below
    write_series(tmp_path, hu, np.zeros(3), STEPS)
    scan = find_scans(tmp_path).scans[0].open()
    model: Any = Given(hu > 0)
    found = predict_scan(scan, model, 127, True, False)
    assert np.flatnonzero(found.mask.pixels()).tolist() == [*range(10, 18)]
    (doubt,) = found.doubts  # 7 * 396 voxels of 27 mm³
    assert doubt.startswith("left out: a part of 75 ml on slices 3 to 9 of 20, apart from the largest, 0.88 times as")
    assert predict_scan(scan, model, 127, False, False).doubts == ()
    small: Any = Given((hu > 0) & (np.arange(20)[:, None, None] > 6))  # 2 of 8 slices are just a quarter
    assert len(predict_scan(scan, small, 127, True, False).doubts) == 1
    small = Given((hu > 0) & (np.arange(20)[:, None, None] > 7))
    assert predict_scan(scan, small, 127, True, False).doubts == ()


def test_parts_and_holes_are_those_of_the_body_whatever_files_are_called() -> None:
    hu = upper_and_lower(2)
    hu[8, 14:20, 14:20] = -100  # a hole
    hu[5, 34:38, 34:38] = 100  # an island
    order = np.random.default_rng(0).permutation(len(hu))
    origin = np.outer(np.arange(20), STEPS[0])

    def scan(ranks: np.ndarray) -> Scan:
        moved, rows = hu[ranks].astype(np.int16), STEPS[1]
        return Scan("a", (), hu.shape, origin[ranks], rows, STEPS[2], moved.__getitem__)

    def mask(ranks: np.ndarray) -> np.ndarray:
        model: Any = Given(hu[ranks] > 0)
        return np.stack(predict_scan(scan(ranks), model, 127, True, True).mask)

    expected = mask(np.arange(20))
    assert expected[8, 16, 16] and not expected[5, 36, 36] and expected.sum() == 15 * 396
    assert np.array_equal(mask(order), expected[order])
