"""Pixels right and wrong, counted slice by slice on the device, over all processes."""

import torch
from torchmetrics import Metric


def _first_seen(counts: torch.Tensor) -> torch.Tensor:
    """Of each slice the counts of the first process that has any: int64 (processes, slices, 4) -> (slices, 4)."""
    first = (counts.sum(-1) > 0).int().argmax(0)
    return counts[first, torch.arange(counts.shape[1], device=counts.device)]


class SliceCounts(Metric):
    """True and false positives and negatives of each slice of a data set, by its index.

    A slice is assigned, not added, and of several processes the first that saw it counts: one that a distributed
    sampler hands out twice, in training under other weights, still counts once.
    """

    counts: torch.Tensor

    def __init__(self, slices: int):
        super().__init__()
        self.add_state("counts", torch.zeros((slices, 4), dtype=torch.int64), dist_reduce_fx=_first_seen)

    def update(self, index: torch.Tensor, predicted: torch.Tensor, true: torch.Tensor) -> None:
        """Count boolean masks (N, 1, H, W) of the slices `index` (N,)."""
        both = (predicted & true).flatten(1).sum(1)
        positive, liver = predicted.flatten(1).sum(1), true.flatten(1).sum(1)
        pixels = true[0].numel()
        self.counts[index] = torch.stack([both, positive - both, liver - both, pixels - positive - liver + both], 1)

    def compute(self) -> torch.Tensor:
        return self.counts
