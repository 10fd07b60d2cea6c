from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from chaos_seg.data.chaos import find_patients
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.store import open_volumes
from chaos_seg.evaluation.counts import count, dice
from chaos_seg.losses import LOSSES
from chaos_seg.segmenter import Segmenter, SliceCounts


def segmenter(loss: str = "dice", **changed: object) -> Segmenter:
    settings = {
        "model": {"base": 4, "depth": 2, "dropout": 0.0},
        "loss": {"name": loss},
        "preprocessing": {"image_size": 32, "level_hu": 0, "width_hu": 2800},
        "learning_rate": 1e-2,
        "threshold": 100,
    }
    return Segmenter(**{**settings, **changed})  # type: ignore[arg-type]


def test_slice_counts_are_those_of_numpy() -> None:
    generator = torch.manual_seed(0)
    predicted, true = (torch.rand(5, 1, 8, 8, generator=generator) > 0.6 for _ in range(2))
    metric = SliceCounts(7)
    metric.update(torch.tensor([6, 0, 3]), predicted[:3], true[:3])
    metric.update(torch.tensor([1, 2]), predicted[3:], true[3:])
    expected = np.zeros((7, 4), int)
    for row, index in enumerate((6, 0, 3, 1, 2)):
        expected[index] = count(predicted[row].numpy(), true[row].numpy())
    assert np.array_equal(metric.compute().numpy(), expected)


def test_a_slice_handed_out_twice_counts_once() -> None:
    predicted, true = torch.ones(2, 1, 2, 2, dtype=torch.bool), torch.ones(2, 1, 2, 2, dtype=torch.bool)
    metric = SliceCounts(2)
    metric.update(torch.tensor([0, 1]), predicted, true)
    metric.update(torch.tensor([1]), predicted[:1], true[:1])  # the padding of a distributed sampler
    assert metric.compute().tolist() == [[4, 0, 0, 0], [4, 0, 0, 0]]


def test_processes_that_saw_a_slice_under_other_weights_count_it_once() -> None:
    """As in training, where the padding of a distributed sampler comes some steps later."""
    true = torch.tensor([[[[1, 1, 0, 0]]]], dtype=torch.bool)
    parts = []
    for index, predicted in (([0, 2], [[1, 1, 1, 1], [0, 1, 0, 0]]), ([1, 0], [[1, 0, 0, 0], [0, 0, 0, 0]])):
        metric = SliceCounts(4)
        metric.update(torch.tensor(index), torch.tensor(predicted).bool()[:, None, None], true.expand(2, 1, 1, 4))
        parts.append(metric)
    gathered = [metric.counts.clone() for metric in parts]
    for metric in parts:
        metric.sync(dist_sync_fn=lambda counts, group: gathered, distributed_available=lambda: True)
        assert metric.counts.tolist() == [[2, 2, 0, 0], [1, 0, 1, 2], [1, 0, 1, 2], [0, 0, 0, 0]]


@pytest.mark.parametrize("threshold", [100, 127.5, 200])
def test_threshold_on_logits_is_that_on_8_bit_probabilities(threshold: float) -> None:
    probability = torch.linspace(0.001, 0.999, 999)
    by_logit = torch.logit(probability) > segmenter(threshold=threshold).logit_threshold
    assert torch.equal(by_logit, probability * 255 > threshold)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_overfits_one_batch(loss: str, phantom_root: Path, tmp_path: Path) -> None:
    volumes = open_volumes(tmp_path, list(find_patients(phantom_root).values())[:1])
    dataset = SliceDataset(volumes, image_size=32, level_hu=40, width_hu=400)
    samples = [dataset[index] for index in range(2, 6)]
    image, mask = (torch.stack([sample[key] for sample in samples]) for key in ("image", "mask"))
    module = segmenter(loss)
    optimizer = module.configure_optimizers()
    for _ in range(150):
        optimizer.zero_grad()
        module.loss(module(image), mask).backward()
        optimizer.step()
    predicted = module(image) > module.logit_threshold
    assert dice(count(predicted.numpy(), mask.numpy() > 0)) > 0.98


def test_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (segmenter(seed=seed).net.head.weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_is_a_lightning_module_with_adam_at_the_given_rate() -> None:
    optimizer = segmenter(learning_rate=1e-5).configure_optimizers()
    assert isinstance(segmenter(), L.LightningModule) and isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 1e-5
