"""The predictor: what several passes make of a slice, at which angle, and where liver begins."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chaos_seg.api import as_scan
from chaos_seg.data.preprocessing import Window
from chaos_seg.data.scan import Scan
from chaos_seg.inference.prediction import predict_scan
from chaos_seg.inference.predictor import Predictor


class Odds(torch.nn.Module):
    """Stands for a Segmenter: the probability of a pixel is its HU / 1000 shifted into 0 to 1, seen as `turn` says."""

    def __init__(self, factor: float = 1.0):
        super().__init__()
        self.factor = factor
        self.preprocessing = Window(64, 0.0, 2000.0)
        self.seen: list[np.ndarray] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += list(images[:, 0].numpy())
        return torch.logit(((images + 1) / 2 * self.factor).clamp(1e-6, 1 - 1e-6))


def scan_of(*slices: np.ndarray, step_mm: float = 1.0) -> Scan:
    return as_scan(np.stack(slices), spacing_mm=(step_mm, 1.0, 1.0))


def predictor(*models: Odds, **options: object) -> Predictor:
    return Predictor(list(models), torch.device("cpu"), **options)  # type: ignore[arg-type]


def test_a_turned_pass_is_turned_back() -> None:
    rows, columns = np.indices((64, 64))
    hu = np.where((np.abs(rows - 20) < 6) & (np.abs(columns - 40) < 10), 800, -800).astype(np.int16)
    model = Odds()
    (passes,) = predictor(model, views=((0.0, 1.0), (30.0, 1.0))).passes(scan_of(hu))
    straight, turned = model.seen
    assert np.abs(straight - turned).mean() > 0.05  # the network saw something else
    assert np.abs(passes[0] - passes[1])[8:-8, 8:-8].mean() < 0.02  # and says the same of each place
    assert np.abs(passes[0] - passes[1]).max(initial=0, where=hu > 0) < 0.6


def test_a_scaled_pass_is_scaled_back() -> None:
    rows, columns = np.indices((64, 64))
    hu = np.where((np.abs(rows - 20) < 8) & (np.abs(columns - 40) < 10), 800, -800).astype(np.int16)
    model = Odds()
    (passes,) = predictor(model, views=((0.0, 1.0), (0.0, 1.2))).passes(scan_of(hu))
    straight, larger = model.seen
    assert (larger > 0).sum() == pytest.approx(1.2**2 * (straight > 0).sum(), rel=0.1)
    assert np.abs(passes[0] - passes[1])[8:-8, 8:-8].mean() < 0.02
    assert np.abs(passes[0] - passes[1]).max(initial=0, where=hu > 0) < 0.6


def test_a_view_that_does_not_see_the_rim_leaves_it_as_it_is() -> None:
    (passes,) = predictor(Odds(), views=((0.0, 1.0), (5.0, 1.0), (0.0, 1.2))).passes(
        scan_of(np.full((64, 64), 600, np.int16))
    )
    assert passes == pytest.approx(np.full((3, 64, 64), 0.8), abs=1e-3)


def test_several_models_are_their_mean() -> None:
    hu = np.full((64, 64), 600, np.int16)  # 0.8, 0.4 and 0.2: their mean is 0.467
    models = [Odds(), Odds(0.5), Odds(0.25)]
    (probability,) = predictor(*models).probabilities(scan_of(hu))
    assert probability == pytest.approx(np.full((64, 64), (0.8 + 0.4 + 0.2) / 3), abs=1e-3)
    for threshold, liver in ((118, True), (120, False)):
        assert predict_scan(scan_of(hu), predictor(*models), threshold, False, False).mask[0].all() == liver


def test_liver_is_above_the_threshold_not_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = np.array([[99, 100, 101]]) / 255
    monkeypatch.setattr(Predictor, "passes", lambda self, scan: (plane[None] for rank in range(1) if scan.hu(rank).any))
    predicted = predict_scan(scan_of(np.zeros((1, 3), np.int16)), predictor(Odds()), 100, False, False)
    assert predicted.mask[0].tolist() == [[False, False, True]] and predicted.mask.pixels().tolist() == [1]


@pytest.mark.parametrize("up", [True, False])
def test_neighbours_are_those_at_a_distance_in_mm_from_low_to_high(up: bool) -> None:
    body, reads = [np.full((64, 64), 100 * rank, np.int16) for rank in range(6)], []
    hu = body if up else body[::-1]  # the same body, from below and from above
    scan = scan_of(*hu, step_mm=2.2)
    places = scan.origin_mm if up else scan.origin_mm[::-1].copy()
    scan = replace(scan, origin_mm=places, read=lambda rank: (reads.append(rank), hu[rank])[1])
    model = Odds()
    model.preprocessing = Window(64, 0.0, 2000.0, neighbours=1, distance_mm=5.0)  # two slices of 2.2 mm
    stacks = [model.preprocessing.hu(scan, rank)[0, 0].tolist() for rank in range(6)]
    expected = [[100 * max(k - 2, 0), 100 * k, 100 * min(k + 2, 5)] for k in range(6)]
    assert stacks == (expected if up else expected[::-1])
    for step_mm, apart in ((2.0, 2), (10.0, 0)):  # 4 and 6 mm are as near to 5, and 0 and 10
        places = scan.origin_mm / 2.2 * step_mm + np.random.default_rng(0).uniform(-1e-4, 1e-4, (6, 1))
        tied = [model.preprocessing.hu(replace(scan, origin_mm=places), k)[0, 0].tolist() for k in range(6)]
        expected = [[100 * max(k - apart, 0), 100 * k, 100 * min(k + apart, 5)] for k in range(6)]
        assert tied == (expected if up else expected[::-1])
    reads.clear()
    assert len(list(predictor(model).passes(scan))) == 6 and sorted(reads) == list(range(6))  # each once
