"""What a fault has to be, and cost, to be named."""

import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.inference.alarms import disagreement
from tests.inference.blunt_liver import (
    COLUMNS,
    MIDDLE,
    ROWS,
    SIZE,
    SLICES,
    SPACING_MM,
    Scan,
    ball,
    scan_alarms,
    slice_alarms,
)


@pytest.mark.parametrize(("side", "named"), [(12, False), (24, True)])  # 0.5 % and 2 % of the mask
def test_parts_of_more_than_1_percent_of_the_mask_are_named(sound: Scan, side: int, named: bool) -> None:
    mask, hu = sound
    mask[MIDDLE, 4 : 4 + side, 68 : 68 + side] = True
    share = 100 * side**2 / np.count_nonzero(mask)
    said = f"several parts: {share:.1f} % of the mask is apart from its largest part"
    assert scan_alarms(mask, hu, SPACING_MM) == [said] * named


@pytest.mark.parametrize(("off", "cost"), [(50, 0), (-50, 0), (88, 0.6), (-77, 0.4), (300, 1)])
def test_a_slices_hu_cost_from_55_hu_to_110_hu_off(sound: Scan, off: int, cost: float) -> None:
    mask, _ = sound
    alarms = slice_alarms(mask, lambda rank: np.full((SIZE, SIZE), 100 + off * (rank == MIDDLE), np.int16), SPACING_MM)
    here = [alarm for alarm in alarms if alarm.rank == MIDDLE]
    assert [alarm.score for alarm in here] == pytest.approx([cost] * (cost > 0))
    assert all(alarm.reasons[0].startswith(f"HU unlike the liver's: median {100 + off} HU") for alarm in here)


@pytest.mark.parametrize(("high", "named"), [(160, False), (180, True)])  # (high - 20) / 1.349 is 104 and 119 HU
def test_a_spread_beyond_a_livers_is_named(sound: Scan, high: int, named: bool) -> None:
    mask, _ = sound
    said = f"half of the HU under the mask lie between 20 and {high}; a liver's are closer"
    hu = np.where((ROWS + COLUMNS) % 2, 20, high).astype(np.int16)
    assert scan_alarms(mask, lambda rank: hu, SPACING_MM) == [said] * named


@pytest.mark.parametrize(("columns", "named"), [(41, False), (45, True)])
def test_a_liver_goes_on_where_most_of_its_outline_looks_like_it(sound: Scan, columns: int, named: bool) -> None:
    mask, hu = sound
    mask[:8] = False
    core = ndimage.binary_erosion(mask[8], np.ones((3, 3)))
    share = core[:, :columns].sum() / core.sum()
    assert (share > 0.6) == named and share > 0.5
    plane = np.where(columns > COLUMNS, 100, -100).astype(np.int16)
    alarms = slice_alarms(mask, lambda rank: plane if rank < 8 else hu(rank), SPACING_MM)
    assert [alarm.score for alarm in alarms if alarm.rank == 7] == pytest.approx([share] * named)


def test_an_island_costs_the_dice_that_it_would_were_it_wrong(sound: Scan) -> None:
    """The same in three slices, so that the one in the middle is like its neighbours."""
    mask, hu = sound
    mask[MIDDLE - 1 : MIDDLE + 2] = ball(48, 40, 22) | ball(48, 80, 10)
    alarm = next(alarm for alarm in slice_alarms(mask, hu, SPACING_MM) if alarm.rank == MIDDLE)
    right, both = np.count_nonzero(ball(48, 40, 22)), np.count_nonzero(mask[MIDDLE])
    assert alarm.score == pytest.approx(1 - 2 * right / (right + both))
    assert len(alarm.reasons) == 1 and alarm.reasons[0].startswith("island: ")


def test_a_hole_costs_the_dice_that_it_would_were_it_liver(sound: Scan) -> None:
    mask, hu = sound
    mask[MIDDLE - 1 : MIDDLE + 2] = ball(48, 40, 22) & ~ball(48, 40, 10)
    alarm = next(alarm for alarm in slice_alarms(mask, hu, SPACING_MM) if alarm.rank == MIDDLE)
    filled, left = np.count_nonzero(ball(48, 40, 22)), np.count_nonzero(mask[MIDDLE])
    assert alarm.score == pytest.approx(1 - 2 * left / (left + filled))
    assert len(alarm.reasons) == 1 and alarm.reasons[0].startswith("holes: ")


@pytest.mark.parametrize(("side", "core"), [(7, 25), (8, 36)])
def test_an_end_of_30_pixels_without_its_rim_tells_whether_the_liver_goes_on(sound: Scan, side: int, core: int) -> None:
    mask, _ = sound
    mask[:] = False
    mask[10:20, 40 : 40 + side, 40 : 40 + side] = True
    hu = np.where((ROWS + COLUMNS) % 2, 90, 110).astype(np.int16)
    beyond = {alarm.rank for alarm in slice_alarms(mask, lambda rank: hu, SPACING_MM)} - set(range(10, 20))
    assert (side - 2) ** 2 == core and beyond == ({*range(10), *range(20, SLICES)} if core >= 30 else set())


def test_a_gap_is_at_most_20_mm_long(sound: Scan) -> None:
    mask, hu = sound
    mask[12:15] = False
    assert {alarm.rank for alarm in slice_alarms(mask, hu, SPACING_MM) if alarm.score == 1} == {12, 13, 14}
    mask[15] = False  # 24 mm: the lower half is a part of its own
    assert not any("gap" in reason for alarm in slice_alarms(mask, hu, SPACING_MM) for reason in alarm.reasons)
    assert scan_alarms(mask, hu, SPACING_MM)[0].startswith("several parts: ")


def test_disagreement_by_hand() -> None:
    passes = np.zeros((3, 4, 4), bool)
    assert disagreement(passes) == 0
    passes[0, 0], passes[1, 0] = True, True
    assert disagreement(passes) == pytest.approx(1 - (1 + 0 + 0) / 3)
    passes[2, 0, :2] = True  # Dice 4 / 6 with both others
    assert disagreement(passes) == pytest.approx(1 - (1 + 2 / 3 + 2 / 3) / 3)
    assert disagreement(passes[:1]) == 0


def test_disagreement_counts_near_the_mask_alone(sound: Scan) -> None:
    mask, hu = sound
    apart = np.zeros(SLICES)
    apart[[1, 12]] = 0.6
    alarms = slice_alarms(mask, hu, SPACING_MM, apart)
    assert alarms[0].rank == 12 and alarms[0].reasons[0] == "passes disagree: Dice 0.40 among them"
    assert all(alarm.rank != 1 for alarm in alarms)
    with pytest.raises(ValueError, match="each of 30 slices, found \\(4,\\)"):
        slice_alarms(mask, hu, SPACING_MM, apart[:4])
    with pytest.raises(ValueError, match="slices, rows, columns"):
        slice_alarms(mask[0], hu, SPACING_MM)
