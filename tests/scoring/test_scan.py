from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from chaos_seg.data.preprocessing import resize_image
from chaos_seg.data.scan import Scan
from chaos_seg.data.store import StoredScan
from chaos_seg.evaluation.calibration import count_levels
from chaos_seg.evaluation.counts import count
from chaos_seg.evaluation.masks import far_errors
from chaos_seg.inference.predictor import Predictor
from chaos_seg.scoring.scan import FAR_MM, ScoredScan, score_scan
from chaos_seg.training.segmenter import Segmenter

Scored = Callable[..., ScoredScan]


@pytest.fixture
def scored(given: Callable[..., Segmenter]) -> Scored:
    """A scan scored by a model whose probabilities are given."""

    def score(volume: Scan, threshold: float, probabilities: Iterable[np.ndarray], size: int = 32) -> ScoredScan:
        model = given(size, iter(probabilities))
        return score_scan(volume, "val", Predictor([model], torch.device("cpu")), threshold)

    return score


def test_liver_is_above_the_threshold_not_at_it(volumes: list[StoredScan], scored: Scored) -> None:
    probability = np.full((7, 32, 32), 0.5, np.float32)
    probability[2, 3, 4:6] = 0.5001, 0.75
    mask = scored(volumes[1], 127.5, probability).case.predicted
    assert np.argwhere(np.stack(mask)).tolist() == [[2, 3, 4], [2, 3, 5]]


def test_probabilities_are_resized_before_they_become_a_mask(volumes: list[StoredScan], scored: Scored) -> None:
    volume = replace(volumes[1], row_mm=np.array([0, 1.0, 0]), column_mm=np.array([2.0, 0, 0]))
    probability = np.random.default_rng(0).uniform(0.01, 0.99, (7, 16, 16)).astype(np.float32)
    scan = scored(volume, 60, probability, size=16)
    rank, true = 3, volume.mask(3) > 0
    whole = resize_image(torch.logit(torch.from_numpy(probability[rank]).double()).float().sigmoid().numpy(), (32, 32))
    predicted = whole * 255 > 60
    first_cut = resize_image((probability[rank] * 255 > 60).astype(np.float32), (32, 32)) * 255 > 60
    assert not np.array_equal(predicted, first_cut)
    assert np.array_equal(scan.case.predicted[rank], predicted) and np.array_equal(scan.case.true[rank], true)
    assert scan.case.counts[rank].tolist() == count(predicted, true).tolist()
    assert tuple(scan.far[rank]) == far_errors(predicted, true, volume.mean_spacing_mm[1:], FAR_MM) != (0, 0)
    assert scan.levels.sum() == 7 * 32 * 32 and scan.levels[1].sum() == sum(volume.liver_pixels or [])
    masks, levels = [volume.mask(k) > 0 for k in range(7)], np.zeros((2, 256), int)
    for plane, mask in zip(probability, masks, strict=True):
        again = torch.logit(torch.from_numpy(plane).double()).float().sigmoid().numpy()
        levels += count_levels(resize_image(again, (32, 32)), mask)
    assert np.array_equal(scan.levels, levels)
