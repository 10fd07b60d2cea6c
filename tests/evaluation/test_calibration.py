import numpy as np

from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.calibration import count_levels, counts_by_threshold, reliability


def test_every_threshold_counts_what_its_mask_does() -> None:
    generator = np.random.default_rng(0)
    probability = generator.random((40, 50), np.float32)
    # On and beside thresholds, and what interpolation leaves outside of 0 to 1.
    probability[0, :5] = np.float32([100 / 255, np.nextafter(np.float32(100 / 255), 1), 0, 1, 1.0000001])
    true = generator.random((40, 50)) < probability
    by_threshold = counts_by_threshold(count_levels(probability, true))
    assert by_threshold.shape == (255, 4)
    for threshold in range(255):
        assert (by_threshold[threshold] == score.count(probability * 255 > threshold, true)).all()


def test_patients_keep_their_places() -> None:
    levels = np.stack([count_levels(np.full(4, p), np.array([1, 1, 0, 0], bool)) for p in (0.2, 0.9)])
    assert counts_by_threshold(levels)[:, 100].tolist() == [[0, 0, 2, 2], [2, 2, 0, 0]]


def test_reliability_by_hand() -> None:
    levels = np.zeros((2, 256), np.int64)
    levels[:, 0] = 90, 10  # told 0 %, 10 % are liver
    levels[:, 255] = 5, 15  # told 100 %, 75 % are
    predicted, observed, pixels = reliability(levels)
    assert pixels.tolist() == [100, *[0] * 8, 20]
    assert observed[0] == 0.1 and observed[9] == 0.75 and np.isnan(observed[1:9]).all()
    assert predicted[0] == 0 and predicted[9] == 254.5 / 255
    levels[1, [51, 52, 178, 179]] = 1  # to 20 % and beyond, to 69.8 % and to 70.2 %: a level goes by its middle
    assert reliability(levels)[2].tolist() == [100, 1, 1, 0, 0, 0, 1, 1, 0, 20]
