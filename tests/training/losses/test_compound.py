import math

import pytest
import torch

from chaos_seg.registry import LOSSES
from chaos_seg.training.losses import BCELoss, DiceLoss

HALF = 0.0  # the logit of probability 1/2


THREE_QUARTERS = math.log(3)  # of 3/4


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_pairs_of_losses_by_hand() -> None:
    logits, target = image(HALF, THREE_QUARTERS, THREE_QUARTERS, HALF), image(1, 1, 0, 0)
    dice, bce = DiceLoss()(logits, target).item(), BCELoss()(logits, target).item()
    both = LOSSES.build({"name": "dice_bce", "weight": 0.5})
    assert both(logits, target).item() == pytest.approx(dice + 0.5 * bce, rel=1e-6)
    worst = LOSSES.build({"name": "dice_topk", "share": 0.5})  # -log 1/4 and -log 1/2 of four
    assert worst(logits, target).item() == pytest.approx(dice + (math.log(4) + math.log(2)) / 2, rel=1e-6)
