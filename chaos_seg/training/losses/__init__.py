"""Segmentation losses on logits, and the registry that makes `loss=<name>` find them.

A new loss is a class here with `@LOSSES.register("name")` and a file conf/loss/name.yaml. Another package registers one
through the entry point group `chaos_seg.losses`; it is then named with `loss.name=...`.
"""

import torch
from torch import nn
from torch.nn import functional

from chaos_seg.errors import UserError
from chaos_seg.registry import LOSSES


def soft_overlap(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Intersection sum(p t) and total sum(p) + sum(t) with p = sigmoid(logits), over the whole batch.

    Pooled, because the soft Dice of a slice without liver has next to no gradient. In float32 also under mixed
    precision, where the sums would overflow.

    Raises:
        ValueError: shapes differ.
    """
    if logits.shape != target.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
    probability, target = logits.float().sigmoid(), target.float()
    return (probability * target).sum(), probability.sum() + target.sum()


def _above_0(smooth: float) -> float:
    """Without smoothing, a batch without liver that is predicted well is 0/0."""
    if not isinstance(smooth, int | float) or not smooth > 0:
        raise UserError(f"loss.smooth={smooth}: expected a number above 0.")
    return float(smooth)


@LOSSES.register("bce")
class BCELoss(nn.Module):
    """Binary cross-entropy, mean over pixels of -t log p - (1 - t) log(1 - p), computed from the logits."""

    def __init__(self) -> None:  # nn.Module's own takes any option, to fail later
        super().__init__()

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if logits.shape != target.shape:
            raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
        return functional.binary_cross_entropy_with_logits(logits.float(), target.float())


@LOSSES.register("dice")
class DiceLoss(nn.Module):
    """1 - (2 I + s) / (T + s), with I and T as in soft_overlap and s = `smooth`; Milletari et al. 2016 square p."""

    def __init__(self, smooth: float = 1.0):
        super().__init__()
        self.smooth = _above_0(smooth)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        intersection, total = soft_overlap(logits, target)
        return 1 - (2 * intersection + self.smooth) / (total + self.smooth)


@LOSSES.register("iou")
class IoULoss(nn.Module):
    """1 - (I + s) / (T - I + s), the soft Jaccard loss, with I and T as in soft_overlap and s = `smooth`."""

    def __init__(self, smooth: float = 1.0):
        super().__init__()
        self.smooth = _above_0(smooth)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        intersection, total = soft_overlap(logits, target)
        return 1 - (intersection + self.smooth) / (total - intersection + self.smooth)
