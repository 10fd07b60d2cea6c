"""Losses that are sums of two."""

import torch
from torch import nn
from torch.nn import functional

from chaos_seg.errors import UserError
from chaos_seg.registry import LOSSES
from chaos_seg.training.losses import BCELoss, DiceLoss


@LOSSES.register("dice_bce")
class DiceBCELoss(nn.Module):
    """Soft Dice and binary cross-entropy, added: the usual pair (Isensee et al. 2021, nnU-Net)."""

    def __init__(self, smooth: float = 1.0, weight: float = 1.0):
        super().__init__()
        self.dice, self.bce, self.weight = DiceLoss(smooth), BCELoss(), weight

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.dice(logits, target) + self.weight * self.bce(logits, target)
        return loss


@LOSSES.register("dice_topk")
class DiceTopKLoss(nn.Module):
    """Soft Dice and the mean cross-entropy of the `share` of all pixels that have the highest."""

    def __init__(self, smooth: float = 1.0, share: float = 0.1):
        super().__init__()
        if not 0 < share <= 1:
            raise UserError(f"loss.share={share}: expected a share of the pixels, above 0 to 1.")
        self.dice, self.share = DiceLoss(smooth), share

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        dice: torch.Tensor = self.dice(logits, target)  # which looks at the shapes too
        each = functional.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none").flatten()
        return dice + each.topk(max(1, round(self.share * len(each)))).values.mean()
