import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest

from chaos_seg.data.appearance import Appearance, TrainingRange, drift, unlike_training
from chaos_seg.data.scan import Scan

SPACING_MM = (6.0, 2.5, 2.5)
SLICES = 30


def hu(rank: int) -> np.ndarray:
    """A liver of 100 HU in fat, another noise in each slice."""
    rows, columns = np.indices((96, 96))
    liver = (rows - 48) ** 2 + (columns - 40) ** 2 < 22**2
    noise = np.random.default_rng(rank).normal(0, 15, liver.shape)
    return (np.where(liver, 100, -100) + noise).astype(np.int16)


def scan_of(read: Callable[[int], np.ndarray], slices: int, spacing_mm: tuple[float, ...]) -> Scan:
    z, y, x = spacing_mm
    origin = np.array([[0, 0, -z * rank] for rank in range(slices)])
    return Scan("a", (), (slices, 20, 20), origin, np.array([0, y, 0]), np.array([x, 0, 0]), read)


def test_input_unlike_the_training_data() -> None:
    def scan(spacing_mm: tuple[float, ...] = SPACING_MM, off: int = 0, scale: float = 1) -> Appearance:
        slices = (
            np.where(np.arange(96)[:, None] < 10, -1000, hu(rank) * scale + off).astype(np.int16)
            for rank in range(SLICES)
        )
        return Appearance.of(slices, spacing_mm)

    training = TrainingRange.of([scan(), scan((5.0, 2.0, 2.0), 10)])
    assert training.spacing_mm == ([5.0, 2.0, 2.0], [6.0, 2.5, 2.5])
    assert unlike_training(scan(), TrainingRange(**asdict(training))) == []
    assert unlike_training(scan((9.0, 2.5, 2.5)), training) == [
        "spacing along z is 9.00 mm; training saw 5.00 to 6.00 mm"
    ]
    assert any("of the body lies below" in one for one in unlike_training(scan(off=90), training))
    assert training.field_mm == ([192.0, 192.0], [240.0, 240.0])
    cut = Appearance.of((hu(rank)[:, 20:76] for rank in range(SLICES)), SPACING_MM)
    assert "the picture is 140 mm along x; training saw 192 to 240 mm" in unlike_training(cut, training)
    older = {key: value for key, value in asdict(training).items() if key != "field_mm"}
    assert not any("picture" in one for one in unlike_training(cut, TrainingRange(**older)))
    assert unlike_training(scan(), None) == [
        "unknown whether it is like the training data: the checkpoint does not say"
    ]
    magnetic = Appearance.of([np.full((8, 8), 300, np.int16)], SPACING_MM)
    assert unlike_training(magnetic, None)[0].startswith("0.0 % of pixels are air or fat")


LOW_HU, HIGH_HU = (-100.0, 0.0, 100.0), (-90.0, 20.0, 150.0)
RANGE = TrainingRange(((5.0, 2.0, 2.0), (6.0, 2.5, 2.5)), (LOW_HU, HIGH_HU))


@pytest.mark.parametrize(
    ("spacing_mm", "unlike"),
    [
        ((4.2, 1.7, 1.7), ""),  # down to 1 / 1.2
        ((7.1, 2.9, 2.9), ""),  # up to 1.2
        ((4.1, 2.0, 2.0), "z"),
        ((7.3, 2.0, 2.0), "z"),
        ((5.0, 1.6, 2.0), "y"),
        ((5.0, 2.0, 3.1), "x"),
        ((5.0, 1.6, 3.1), "yx"),
        ((np.nan, 2.0, 2.0), ""),
    ],
)
def test_spacing_may_be_a_fifth_beyond_what_training_saw(spacing_mm: tuple[float, ...], unlike: str) -> None:
    said = unlike_training(Appearance(spacing_mm, LOW_HU, 0.5), RANGE)
    assert [sentence[: len("spacing along z")] for sentence in said] == [f"spacing along {axis}" for axis in unlike]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("off", "unlike"), [(-39, False), (39, False), (-41, True), (41, True)])
def test_hu_may_lie_40_beyond_what_training_saw(place: int, off: int, unlike: bool) -> None:
    body = list(LOW_HU if off < 0 else HIGH_HU)
    body[place] += off
    said = unlike_training(Appearance((5.0, 2.0, 2.0), tuple(body), 0.5), RANGE)
    expected = f"{(5, 50, 95)[place]} % of the body lies below {body[place]:.0f} HU; "
    assert len(said) == unlike and all(sentence.startswith(expected) for sentence in said)


def test_a_ct_has_1_percent_of_air_or_fat() -> None:
    assert unlike_training(Appearance((5.0, 2.0, 2.0), LOW_HU, 0.011), RANGE) == []
    (said,) = unlike_training(Appearance((5.0, 2.0, 2.0), LOW_HU, 0.009), RANGE)
    assert said.startswith("0.9 % of pixels are air or fat")


def test_an_appearance_is_that_of_every_fourth_slice() -> None:
    """Percentiles of what is denser than fat, and the share of what is colder; padding is neither."""
    generator, read = np.random.default_rng(0), []
    slices = [generator.choice([-2048, -1000, -120, 0, 50, 100, 400], (20, 20)).astype(np.int16) for _ in range(11)]
    scan = Appearance.sampled(scan_of(lambda rank: read.append(rank) or slices[rank], 11, (6.0, 2.5, 2.5)))
    hu = np.stack(slices[::4])
    assert read == [0, 4, 8] and scan.spacing_mm == (6.0, 2.5, 2.5)
    assert scan.body_hu == tuple(np.percentile(hu[hu > -150], (5, 50, 95), method="inverted_cdf"))
    assert scan.cold_share == (hu == -1000).mean()


def test_drift_counts_a_scan_once_that_lies_beyond_either_model() -> None:
    near, far = (
        TrainingRange(([low] * 3, [high] * 3), ([0.0] * 3, [50.0] * 3)) for low, high in ((1.0, 2.0), (4.0, 5.0))
    )
    scans = [Appearance((spacing, 1.5, 4.5), (20.0, 20.0, 20.0), 0.3) for spacing in (1.5, 9.0)]
    z, y, _, hu, *_ = drift(scans, [near, far])
    assert (z["training"], z["scans"], z["beyond"]) == ([1.0, 5.0], [1.5, 9.0], 2)  # 1.5 is beyond the second alone
    assert y["beyond"] == 2 and hu["beyond"] == 0
    assert drift([Appearance((math.nan, 1.5, 1.5), (math.nan,) * 3, 0.3), *scans[:1]], [near])[0]["scans"] == [1.5, 1.5]
    nowhere = Appearance((math.nan,) * 3, (math.nan,) * 3, 0.3)
    assert unlike_training(nowhere, near) == []
    assert drift([], [near]) == [] and drift(scans, []) == []


def test_what_json_kept_comes_back() -> None:
    """Where a value that there is not is null."""
    kept = Appearance.read({"spacing_mm": [None, 0.7, 0.7], "body_hu": [None, 2.0, 3.0], "cold_share": 0.3})
    assert math.isnan(kept.spacing_mm[0]) and math.isnan(kept.body_hu[0])
    assert (kept.spacing_mm[1:], kept.body_hu[1:], kept.cold_share) == ((0.7, 0.7), (2.0, 3.0), 0.3)
