import numpy as np
import torch

from chaos_seg.evaluation.counts import count
from chaos_seg.training.slice_counts import SliceCounts


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
