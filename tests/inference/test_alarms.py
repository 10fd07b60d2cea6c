from collections import Counter

import numpy as np
import pytest

from chaos_seg.inference.alarms import alarms
from chaos_seg.inference.confidence import Confidence
from chaos_seg.inference.mask import PackedMask
from tests.inference.blunt_liver import (
    COLUMNS,
    MIDDLE,
    ROWS,
    SIZE,
    SLICES,
    SPACING_MM,
    Scan,
    ball,
    blunt_liver,
    first,
    looked_at,
    scan_alarms,
    slice_alarms,
    sure,
)


def test_a_sound_mask_has_low_scores_and_no_finding(sound: Scan) -> None:
    mask, hu = sound
    assert scan_alarms(mask, hu, SPACING_MM) == []
    alarms = slice_alarms(mask, hu, SPACING_MM)
    assert max(alarm.score for alarm in alarms) < 0.25
    assert {alarm.rank for alarm in alarms if alarm.score > 0.1} <= {5, 6, 23, 24}  # the ends, the hard slices
    assert alarms == slice_alarms(mask, hu, SPACING_MM)


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


@pytest.mark.parametrize("other", [-100, -900])
def test_fat_or_air_under_the_mask_is_unlike_the_liver(sound: Scan, other: int) -> None:
    mask, hu = sound

    def shifted(rank: int) -> np.ndarray:
        return hu(rank) + np.int16(other - 100) if rank == MIDDLE else hu(rank)

    rank, reason, ahead = first(mask, shifted)
    median = np.median(shifted(MIDDLE)[mask[MIDDLE]])
    assert rank == MIDDLE and reason.startswith(f"HU unlike the liver's: median {median:.0f} HU, of the whole mask 9")
    assert ahead > 0.5


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
    assert alarms(mask, looked_at(hu, SPACING_MM, 299), sure(mask)).findings == [
        "a liver of 299 ml; expected 300 to 4500 ml"
    ]
    assert alarms(mask, looked_at(hu, SPACING_MM, 4501), sure(mask)).findings == [
        "a liver of 4501 ml; expected 300 to 4500 ml"
    ]
    assert (
        alarms(mask, looked_at(hu, SPACING_MM, 300), sure(mask)).findings
        == alarms(mask, looked_at(hu, SPACING_MM, 4500), sure(mask)).findings
        == []
    )
    assert (
        alarms(mask, looked_at(hu, (np.nan, 2.5, 2.5), 2), sure(mask)).findings == []
    )  # distances that are not known make no volume
    assert "2 ml" not in str(
        alarms(mask[15:16], looked_at(hu, SPACING_MM, 2), sure(mask[15:16])).findings
    )  # nor does a single slice


def test_a_packed_mask_is_as_good_as_a_volume(sound: Scan) -> None:
    mask, hu = sound
    mask[12, 40:50] = False
    mask[20] |= ball(48, 80, 8)
    assert alarms(PackedMask(mask), looked_at(hu, SPACING_MM, 900), sure(PackedMask(mask))) == alarms(
        mask, looked_at(hu, SPACING_MM, 900), sure(mask)
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


def test_an_island_costs_the_dice_that_it_would_were_it_wrong(sound: Scan) -> None:
    """The same in three slices, so that the one in the middle is like its neighbours."""
    mask, hu = sound
    mask[MIDDLE - 1 : MIDDLE + 2] = ball(48, 40, 22) | ball(48, 80, 10)
    alarm = next(alarm for alarm in slice_alarms(mask, hu, SPACING_MM) if alarm.rank == MIDDLE)
    right, both = np.count_nonzero(ball(48, 40, 22)), np.count_nonzero(mask[MIDDLE])
    assert alarm.score == pytest.approx(1 - 2 * right / (right + both))
    assert len(alarm.reasons) == 1 and alarm.reasons[0].startswith("island: ")


def test_a_gap_is_at_most_20_mm_long_and_the_rest_no_island(sound: Scan) -> None:
    mask, hu = sound
    mask[12:15] = False
    assert scan_alarms(mask, hu, SPACING_MM) == [
        f"a gap along z: no mask on slices 13 to 15 of {SLICES}, between slices with liver"
    ]
    mask[15] = False  # 24 mm: the lower half is a part of its own
    assert scan_alarms(mask, hu, SPACING_MM)[0].startswith("several parts: ")


def test_a_lone_slice_is_suspicious(sound: Scan) -> None:
    mask, hu = sound
    mask[:] = False
    mask[MIDDLE, 40:44, 40:44] = True
    (alarm,) = slice_alarms(mask, hu, SPACING_MM)
    assert (alarm.rank, alarm.score, alarm.reasons[0]) == (MIDDLE, 1.0, "the only slice with a mask")


def test_the_pictures_edge_is_named(sound: Scan) -> None:
    mask, hu = sound
    mask[MIDDLE] = ball(48, 18, 22)
    assert scan_alarms(mask, hu, SPACING_MM) == [f"the mask touches the picture's edge on slice 16 of {SLICES}"]


def test_each_slice_with_a_mask_or_beside_one_is_read_once(sound: Scan) -> None:
    mask, hu = sound
    mask[14:19] = False
    reads: Counter[int] = Counter()

    def counted(rank: int) -> np.ndarray:
        reads[rank] += 1
        return hu(rank)

    alarms(mask, looked_at(counted, SPACING_MM, 900), sure(mask))
    labelled = np.flatnonzero(mask.any(axis=(1, 2)))
    assert reads == Counter(sorted({rank + step for rank in labelled.tolist() for step in (-1, 0, 1)}))


def test_doubt_costs_the_dice_that_the_probabilities_expect_to_lose(sound: Scan) -> None:
    mask, _ = sound
    mask[:] = blunt_liver()[14]  # no neighbour differs

    def hu(rank: int) -> np.ndarray:
        return np.full((SIZE, SIZE), 100, np.int16)

    probability = np.where(mask, 0.9, 0.0)
    probability[12] = np.where(mask[12], 0.6, 0.2)
    rows = [Confidence.row(one.astype(np.float32), plane) for one, plane in zip(probability, mask, strict=True)]
    pixels = np.count_nonzero(mask[12])
    expected = 2 * 0.6 * pixels / (0.6 * pixels + 0.2 * (SIZE**2 - pixels) + pixels)
    (first, *rest) = slice_alarms(mask, hu, SPACING_MM, Confidence.of(rows))
    assert first.rank == 12 and first.score == pytest.approx(1 - expected, abs=1e-6)
    assert first.reasons == (f"unsure: its own probabilities expect a Dice of {expected:.2f}",)
    assert [alarm.score for alarm in rest] == pytest.approx([1 - 1.8 / 1.9] * (SLICES - 1), abs=1e-6)
    with pytest.raises(ValueError, match="each of 30 slices, found \\(4,\\)"):
        slice_alarms(mask, hu, SPACING_MM, Confidence.of(rows[:4]))


def test_an_empty_slice_is_doubted_by_its_largest_probability_unless_its_mask_was_taken_away(sound: Scan) -> None:
    mask, hu = sound
    rows = [Confidence.row(plane.astype(np.float32), plane) for plane in mask]
    speck = np.zeros((SIZE, SIZE), np.float32)
    speck[3, 3] = 0.3
    rows[28] = Confidence.row(speck, speck > 0.4)
    rows[29] = Confidence.row(speck, speck > 0.2)
    found = {alarm.rank: alarm for alarm in slice_alarms(mask, hu, SPACING_MM, Confidence.of(rows))}
    assert found[28].score == pytest.approx(0.3) and "a probability of liver of 0.30" in found[28].reasons[0]
    assert 29 not in found  # by post-processing


def test_the_guessed_dice_is_the_expected_one_without_what_is_apart(sound: Scan) -> None:
    mask, hu = sound
    looked = looked_at(hu, SPACING_MM, 900)
    half = Confidence.of([Confidence.row(np.where(plane, 0.8, 0.0).astype(np.float32), plane) for plane in mask])
    assert alarms(mask, looked, half).dice == pytest.approx(1.6 / 1.8)
    liver = np.count_nonzero(mask)
    mask[MIDDLE, 4:24, 68:88] = True
    assert alarms(mask, looked, sure(mask)).dice == pytest.approx(2 * liver / (2 * liver + 400))
    empty = np.zeros_like(mask)
    assert np.isnan(alarms(empty, looked, sure(empty)).dice)
