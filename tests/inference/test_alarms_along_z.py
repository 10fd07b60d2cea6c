"""Mask that ends from one slice to the next although the liver goes on."""

import os
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.sources.chaos import chaos, find_patients
from chaos_seg.data.store import open_patients
from chaos_seg.inference.alarms import NAMED, LiverInScan, alarms
from tests.inference.blunt_liver import (
    COLUMNS,
    SIZE,
    SLICES,
    SPACING_MM,
    Scan,
    ball,
    blunt_liver,
    first,
    looked_at,
    slice_alarms,
    sure,
)


def test_a_lobe_that_ends_at_once_goes_on(sound: Scan) -> None:
    """Neither slice at the step differs from the other one beside it."""
    mask, hu = sound
    left = COLUMNS < 38
    lost_cm2 = np.count_nonzero(mask[16] & left) * 2.5 * 2.5 / 100
    mask[17:] &= ~left
    assert first(mask, hu)[0] == 17
    (reason,) = slice_alarms(mask, hu, SPACING_MM)[0].reasons
    found, words = reason.removeprefix("goes on: ").split(" ", 1)
    assert words == "cm² outlined on slice 17 have the same HU here, outside of the mask"
    found_cm2 = float(found)
    assert 0.9 * lost_cm2 < found_cm2 <= lost_cm2  # its corners are narrower

    def fat(rank: int) -> np.ndarray:
        return np.where(left, -100, hu(rank)) if rank >= 17 else hu(rank)

    assert not any("goes on" in reason for alarm in slice_alarms(mask, fat, SPACING_MM) for reason in alarm.reasons)


def test_a_liver_that_ends_at_once_goes_on_where_no_mask_is(sound: Scan) -> None:
    mask, hu = sound
    mask[20:] = False
    (alarm,) = (alarm for alarm in slice_alarms(mask, hu, SPACING_MM) if alarm.rank == 20)
    assert alarm.score == pytest.approx(0.5) and alarm.reasons[0].startswith("goes on: ")
    mask[22:25] = blunt_liver()[22:25]  # it does go on, so that 20 and 21 are a gap
    assert [(alarm.rank, alarm.score) for alarm in slice_alarms(mask, hu, SPACING_MM)[:2]] == [(20, 1.0), (21, 1.0)]


def test_a_mask_of_something_else_does_not_go_on_beside_it(sound: Scan) -> None:
    mask, hu = sound
    mask[25:28] = blunt_liver()[20]  # where fat is, and the same fat in slice 28
    assert not any("goes on" in reason for alarm in slice_alarms(mask, hu, SPACING_MM) for reason in alarm.reasons)
    mask[25:28] = False
    mask[29] = ball(48, 40, 9)  # an island says nothing of the slices beside it
    same = np.full((SIZE, SIZE), 100, np.int16)
    others = {alarm.rank for alarm in slice_alarms(mask, lambda rank: same if rank > 27 else hu(rank), SPACING_MM)}
    assert 29 in others and 28 not in others


def test_slices_that_lie_far_apart_may_differ(sound: Scan) -> None:
    mask, hu = sound
    mask[17:] &= COLUMNS >= 38
    scan = looked_at(hu, SPACING_MM, 900)
    scan.z_mm = np.where(np.arange(SLICES) >= 17, 40.0, 0.0) + scan.z_mm
    assert not any("goes on" in reason for alarm in alarms(mask, scan, sure(mask)).slices for reason in alarm.reasons)


def test_what_is_narrow_may_end_at_once(sound: Scan) -> None:
    mask, hu = sound
    mask[17:] &= COLUMNS > 23  # 14 mm of its left side
    assert not any("goes on" in reason for alarm in slice_alarms(mask, hu, SPACING_MM) for reason in alarm.reasons)


@pytest.mark.skipif(not os.environ.get("CHAOS_REAL_ROOT"), reason="CHAOS_REAL_ROOT is not set")
@pytest.mark.parametrize(("every", "share"), [(1, 0.005), (3, 0.01)])
def test_true_outlines_hardly_go_on(every: int, share: float, tmp_path: Path) -> None:
    root = Path(os.environ["CHAOS_REAL_ROOT"])
    found, slices = {True: 0, False: 0}, {True: 0, False: 0}
    for volume in open_patients(tmp_path, chaos(root), [*find_patients(root)]):
        ranks = range(0, volume.slices, every)
        mask = np.stack([volume.mask(rank) > 0 for rank in ranks])
        scan = looked_at([volume.hu(rank) for rank in ranks].__getitem__, volume.spacing_mm, 1500)
        scan.z_mm = volume.z_mm[::every]
        liver = LiverInScan(mask, scan)
        for rank, plane in enumerate(mask):
            slices[bool(plane.any())] += 1
            found[bool(plane.any())] += any(c >= NAMED and "goes on" in why for c, why in liver.costs(rank))
    print(f"{found[True]} of {slices[True]} slices with liver, {found[False]} of {slices[False]} without")
    assert found[True] <= share * slices[True] and found[False] <= share * slices[False]
