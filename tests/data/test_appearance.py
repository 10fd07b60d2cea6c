from dataclasses import asdict

import numpy as np

from chaos_seg.data.appearance import EVERY, Fingerprint, FingerprintCounts, TrainingRange, unlike_training

SPACING_MM = (6.0, 2.5, 2.5)
SLICES = 30


def hu(rank: int) -> np.ndarray:
    """A liver of 100 HU in fat, another noise in each slice."""
    rows, columns = np.indices((96, 96))
    liver = (rows - 48) ** 2 + (columns - 40) ** 2 < 22**2
    noise = np.random.default_rng(rank).normal(0, 15, liver.shape)
    return (np.where(liver, 100, -100) + noise).astype(np.int16)


def test_counted_on_the_way_to_the_network_it_is_the_same() -> None:
    counts, passed = FingerprintCounts(), []
    for plane in counts.watch(hu(rank) + np.int16(100 * (rank % EVERY)) for rank in range(SLICES)):
        passed.append(plane)
    assert len(passed) == SLICES and np.array_equal(passed[5], hu(5) + 100 * (5 % EVERY))
    assert counts.fingerprint(SPACING_MM) == Fingerprint.sampled(hu, SLICES, SPACING_MM)


def test_input_unlike_the_training_data() -> None:
    def scan(spacing_mm: tuple[float, ...] = SPACING_MM, off: int = 0, scale: float = 1) -> Fingerprint:
        slices = (
            np.where(np.arange(96)[:, None] < 10, -1000, hu(rank) * scale + off).astype(np.int16)
            for rank in range(SLICES)
        )
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
