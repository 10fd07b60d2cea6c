from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from chaos_seg.inference.alarms import SliceAlarm, alarms, disagreement
from chaos_seg.inference.predictor import PackedMask

SPACING_MM = (6.0, 2.5, 2.5)
SIZE, SLICES, MIDDLE = 96, 30, 15
ROWS, COLUMNS = np.indices((SIZE, SIZE))


def ball(row: float, column: float, radius: float) -> np.ndarray:
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 < radius**2


def blunt_liver() -> np.ndarray:
    """1.3 l over slices 5 to 24, blunter than a sphere as livers are; areas are those of true sections."""
    z = (np.arange(SLICES) - 14.5) / 10.5
    radii = 22 * np.sqrt(np.clip(1 - z**4, 0, None))
    return np.stack([ball(48, 40, radius) for radius in radii])


Scan = tuple[np.ndarray, Callable[[int], np.ndarray]]


@pytest.fixture
def sound() -> Scan:
    """A mask that is right: the liver at 100 HU inside fat, with noise."""
    mask = blunt_liver()
    hu = np.where(mask, 100, -100) + np.random.default_rng(0).normal(0, 15, mask.shape)
    return mask, lambda rank: hu[rank].astype(np.int16)


def looked_at(hu: Callable[[int], np.ndarray], spacing_mm: tuple[float, ...], millilitres: float) -> Any:
    """Stands for a scan."""
    return SimpleNamespace(hu=hu, spacing_mm=spacing_mm, volume_ml=lambda pixels: millilitres, modality="CT")


def slice_alarms(
    mask: np.ndarray,
    hu: Callable[[int], np.ndarray],
    spacing_mm: tuple[float, ...],
    disagreement: np.ndarray | None = None,
) -> list[SliceAlarm]:
    return alarms(mask, looked_at(hu, spacing_mm, 1500), disagreement).slices


def scan_alarms(mask: np.ndarray, hu: Callable[[int], np.ndarray], spacing_mm: tuple[float, ...]) -> list[str]:
    millilitres = float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000)
    return alarms(mask, looked_at(hu, spacing_mm, millilitres)).findings


def first(mask: np.ndarray, hu: Callable[[int], np.ndarray]) -> tuple[int, str, float]:
    """Rank and costliest reason of the first alarm, and how far its score is ahead of the second."""
    alarms = slice_alarms(mask, hu, SPACING_MM)
    return alarms[0].rank, alarms[0].reasons[0], alarms[0].score - alarms[1].score


def test_a_sound_mask_has_low_scores_and_no_finding(sound: Scan) -> None:
    mask, hu = sound
    assert scan_alarms(mask, hu, SPACING_MM) == []
    alarms = slice_alarms(mask, hu, SPACING_MM)
    assert max(alarm.score for alarm in alarms) < 0.25
    assert {alarm.rank for alarm in alarms if alarm.score > 0.1} <= {5, 6, 23, 24}  # the ends, the hard slices
    assert alarms == slice_alarms(mask, hu, SPACING_MM)


def test_a_removed_slice_is_a_gap_and_the_rest_no_island(sound: Scan) -> None:
    mask, hu = sound
    mask[MIDDLE] = False
    assert first(mask, hu)[:2] == (MIDDLE, "gap: no mask between slices with liver")
    assert scan_alarms(mask, hu, SPACING_MM) == [
        f"a gap along z: no mask on slice {MIDDLE + 1} of {SLICES}, between slices with liver"
    ]


def test_a_doubled_area_jumps(sound: Scan) -> None:
    mask, hu = sound
    mask[MIDDLE] = ball(48, 40, 22 * np.sqrt(2))
    (alarm, *_), area = slice_alarms(mask, hu, SPACING_MM), np.count_nonzero(mask[MIDDLE]) * 0.0625
    assert alarm.rank == MIDDLE and alarm.score > 0.5
    assert any(reason.startswith(f"area jumps: {area:.1f} cm²") for reason in alarm.reasons)


def test_an_island_is_named(sound: Scan) -> None:
    mask, hu = sound
    mask[MIDDLE] |= ball(48, 80, 12)
    share = 1 - np.count_nonzero(blunt_liver()[MIDDLE]) / np.count_nonzero(mask[MIDDLE])
    rank, _, ahead = first(mask, hu)
    reasons = slice_alarms(mask, hu, SPACING_MM)[0].reasons
    assert rank == MIDDLE and ahead > 0.05
    assert f"island: {100 * share:.0f} % of the mask is apart from the largest part" in reasons


def test_a_far_part_is_an_island_and_no_gap(sound: Scan) -> None:
    mask, hu = sound
    mask[20:26] = False
    mask[29] = ball(48, 40, 9)
    alarm = slice_alarms(mask, hu, SPACING_MM)[0]
    assert alarm.rank == 29 and "island: 100 % of the mask is apart from the largest part" in alarm.reasons
    assert not any("gap" in finding for finding in scan_alarms(mask, hu, SPACING_MM))


def test_a_hole_is_named(sound: Scan) -> None:
    mask, hu = sound
    mask[MIDDLE] &= ~ball(48, 40, 15)
    rank, _, ahead = first(mask, hu)
    reasons = slice_alarms(mask, hu, SPACING_MM)[0].reasons
    assert rank == MIDDLE and ahead > 0.2 and any(reason.startswith("holes: 46 %") for reason in reasons)


@pytest.mark.parametrize("other", [-100, -900])
def test_fat_or_air_under_the_mask_is_unlike_the_liver(sound: Scan, other: int) -> None:
    mask, hu = sound

    def shifted(rank: int) -> np.ndarray:
        return hu(rank) + np.int16(other - 100) if rank == MIDDLE else hu(rank)

    rank, reason, ahead = first(mask, shifted)
    median = np.median(shifted(MIDDLE)[mask[MIDDLE]])
    assert rank == MIDDLE and reason.startswith(f"HU unlike the liver's: median {median:.0f} HU, of the whole mask 9")
    assert ahead > 0.5


def test_a_missed_dome_goes_on(sound: Scan) -> None:
    mask, hu = sound
    mask[:8] = False
    alarms = slice_alarms(mask, hu, SPACING_MM)
    assert [alarm.rank for alarm in alarms[:2]] == [7, 6]  # on slice 6 of rank 5, already, the liver is much smaller
    assert alarms[0].reasons[0].endswith("% of what slice 9's covers has the liver's HU here")
    assert not any(alarm.rank < 4 for alarm in alarms)


def test_specks_go_on_nowhere_and_a_lone_slice_is_suspicious(sound: Scan) -> None:
    mask, hu = sound
    mask[:] = False
    mask[MIDDLE, 40:44, 40:44] = True
    (alarm,) = slice_alarms(mask, hu, SPACING_MM)
    assert (alarm.rank, alarm.score, alarm.reasons[0]) == (MIDDLE, 1.0, "the only slice with a mask")


def test_the_pictures_edge_is_named(sound: Scan) -> None:
    mask, hu = sound
    mask[MIDDLE] = ball(48, 18, 22)
    alarm = slice_alarms(mask, hu, SPACING_MM)[0]
    touching = np.count_nonzero(mask[MIDDLE, :, 0])
    assert alarm.rank == MIDDLE and touching > 10
    assert f"at the picture's edge: {touching} pixels of the mask touch it" in alarm.reasons
    assert scan_alarms(mask, hu, SPACING_MM) == [f"the mask touches the picture's edge on slice 16 of {SLICES}"]


def test_what_is_wrong_with_a_scan(sound: Scan) -> None:
    mask, hu = sound
    assert scan_alarms(np.zeros_like(mask), hu, SPACING_MM) == ["no liver was found"]
    assert slice_alarms(np.zeros_like(mask), hu, SPACING_MM) == []
    assert scan_alarms(mask[15:], lambda rank: hu(rank + 15), SPACING_MM) == [
        "the mask reaches the first slice: the liver may go on beyond the scan"
    ]
    millilitres = np.count_nonzero(mask) * 6 * 0.625 * 0.625 / 1000
    assert scan_alarms(mask, hu, (6.0, 0.625, 0.625)) == [f"a liver of {millilitres:.0f} ml; expected 300 to 4500 ml"]
    assert scan_alarms(mask, lambda rank: hu(rank) - np.int16(1000), SPACING_MM) == [
        "-900 HU under the mask (median); a liver has -30 to 300 HU"
    ]
    mask[10:20, 10:20, 80:90] = True
    assert scan_alarms(mask, hu, SPACING_MM)[0].startswith("several parts: ")


def test_the_volume_is_the_scans_own(sound: Scan) -> None:
    """Its slices may lie at uneven distances, which the usual distance between them does not tell."""
    mask, hu = sound
    assert alarms(mask, looked_at(hu, SPACING_MM, 299)).findings == ["a liver of 299 ml; expected 300 to 4500 ml"]
    assert alarms(mask, looked_at(hu, SPACING_MM, 4501)).findings == ["a liver of 4501 ml; expected 300 to 4500 ml"]
    assert (
        alarms(mask, looked_at(hu, SPACING_MM, 300)).findings
        == alarms(mask, looked_at(hu, SPACING_MM, 4500)).findings
        == []
    )
    assert (
        alarms(mask, looked_at(hu, (np.nan, 2.5, 2.5), 2)).findings == []
    )  # distances that are not known make no volume
    assert "2 ml" not in str(alarms(mask[15:16], looked_at(hu, SPACING_MM, 2)).findings)  # nor does a single slice


def test_each_slice_is_read_once_and_none_without_need(sound: Scan) -> None:
    """Two livers that both go on into the stretch between them, a gap, an end that goes on and an island."""
    mask, hu = sound
    mask[:8] = mask[14:19] = mask[11] = False
    mask[10] |= ball(48, 80, 8)
    reads: Counter[int] = Counter()

    def counted(rank: int) -> np.ndarray:
        reads[rank] += 1
        return hu(rank)

    found = alarms(mask, looked_at(counted, SPACING_MM, 900))
    beyond = {alarm.rank for alarm in found.slices if "has the liver's HU here" in alarm.reasons[0]}
    assert {7, 14, 15, 16, 17, 18} <= beyond and 11 not in reads
    assert set(reads.values()) == {1}
    assert set(np.flatnonzero(mask.any(axis=(1, 2)))) | beyond <= set(reads) <= set(range(4, 27))


def test_between_two_parts_the_lower_end_has_the_word(sound: Scan) -> None:
    mask, hu = sound
    mask[14:19] = False
    reasons = {alarm.rank: alarm.reasons[0] for alarm in slice_alarms(mask, hu, SPACING_MM)}
    assert all("slice 20's" in reasons[rank] for rank in range(14, 19))


def test_a_packed_mask_is_as_good_as_a_volume(sound: Scan) -> None:
    mask, hu = sound
    mask[12, 40:50] = False
    mask[20] |= ball(48, 80, 8)
    assert alarms(PackedMask(mask), looked_at(hu, SPACING_MM, 900)) == alarms(mask, looked_at(hu, SPACING_MM, 900))


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
