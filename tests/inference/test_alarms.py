from collections import Counter

import numpy as np
import pytest

from chaos_seg.inference.alarms import alarms
from chaos_seg.inference.predictor import PackedMask
from tests.inference.blunt_liver import (
    MIDDLE,
    SLICES,
    SPACING_MM,
    Scan,
    ball,
    blunt_liver,
    first,
    looked_at,
    scan_alarms,
    slice_alarms,
)


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
