from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest

from chaos_seg.evaluation.alarms import (
    Fingerprint,
    TrainingRange,
    disagreement,
    scan_alarms,
    slice_alarms,
    unlike_training,
)

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


def test_input_unlike_the_training_data(sound: Scan) -> None:
    _, hu = sound

    def scan(spacing_mm: tuple[float, ...] = SPACING_MM, off: int = 0, scale: float = 1) -> Fingerprint:
        slices = (np.where(ROWS < 10, -1000, hu(rank) * scale + off).astype(np.int16) for rank in range(SLICES))
        return Fingerprint.of(slices, spacing_mm)

    training = TrainingRange.of([scan(), scan((5.0, 2.0, 2.0), 10)])
    assert training.spacing_mm == ([5.0, 2.0, 2.0], [6.0, 2.5, 2.5])
    assert unlike_training(scan(), TrainingRange(**asdict(training))) == []
    assert unlike_training(scan((9.0, 2.5, 2.5)), training) == [
        "spacing along z is 9.00 mm; training saw 5.00 to 6.00 mm"
    ]
    assert any("of the body lies below" in one for one in unlike_training(scan(off=90), training))
    assert unlike_training(scan(), None) == [
        "unknown whether it is like the training data: the checkpoint does not say"
    ]
    magnetic = Fingerprint.of([np.full((8, 8), 300, np.int16)], SPACING_MM)
    assert unlike_training(magnetic, None)[0].startswith("0.0 % of pixels are air or fat")
