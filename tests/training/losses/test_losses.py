import math

import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.registry import LOSSES
from chaos_seg.training.losses import BCELoss, DiceLoss, IoULoss

HALF = 0.0  # the logit of probability 1/2
THREE_QUARTERS = math.log(3)  # of 3/4


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_bce_by_hand() -> None:
    logits, target = image(HALF, THREE_QUARTERS, THREE_QUARTERS), image(1, 1, 0)
    expected = -(math.log(1 / 2) + math.log(3 / 4) + math.log(1 / 4)) / 3
    assert BCELoss()(logits, target).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("smooth", [1e-6, 1.0, 0.1])
def test_dice_and_iou_by_hand(smooth: float) -> None:
    # p = 1/2 3/4 3/4 1/2 against t = 1 1 0 0: I = 5/4, sum p + sum t = 5/2 + 2
    logits, target = image(HALF, THREE_QUARTERS, THREE_QUARTERS, HALF), image(1, 1, 0, 0)
    assert DiceLoss(smooth)(logits, target).item() == pytest.approx(1 - (2.5 + smooth) / (4.5 + smooth), rel=1e-6)
    assert IoULoss(smooth)(logits, target).item() == pytest.approx(1 - (1.25 + smooth) / (3.25 + smooth), rel=1e-6)


def test_dice_and_iou_are_one_function_of_the_other() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(3, 1, 8, 8), (torch.rand(3, 1, 8, 8) > 0.7).float()
    dice, iou = 1 - DiceLoss(1e-9)(logits, target), 1 - IoULoss(1e-9)(logits, target)
    assert dice.item() == pytest.approx(2 * iou.item() / (1 + iou.item()), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES.names())
class TestEveryLoss:
    def test_does_not_depend_on_the_order_of_the_batch(self, name: str) -> None:
        torch.manual_seed(1)
        logits, target = torch.randn(4, 1, 8, 8), (torch.rand(4, 1, 8, 8) > 0.5).float()
        loss, order = LOSSES.build({"name": name}), torch.tensor([2, 0, 3, 1])
        assert loss(logits[order], target[order]).item() == pytest.approx(loss(logits, target).item(), rel=1e-6)

    def test_perfect_is_near_0_and_opposite_is_worse(self, name: str) -> None:
        target = (torch.rand(2, 1, 16, 16, generator=torch.manual_seed(2)) > 0.5).float()
        loss, sure = LOSSES.build({"name": name}), 40 * target - 20
        assert loss(sure, target).item() == pytest.approx(0, abs=1e-5)
        assert loss(-sure, target).item() > 0.9

    @pytest.mark.parametrize("liver", [0.0, 1.0])
    @pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
    def test_is_finite_with_its_gradient_at_the_extremes(self, name: str, liver: float, logit: float) -> None:
        logits = torch.full((2, 1, 4, 4), logit, requires_grad=True)
        loss = LOSSES.build({"name": name})(logits, torch.full((2, 1, 4, 4), liver))
        loss.backward()
        assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()

    def test_half_precision_does_not_overflow(self, name: str) -> None:
        logits = torch.zeros(1, 1, 512, 512, dtype=torch.float16)
        target = torch.ones(1, 1, 512, 512)  # 262,144 pixels: float16 ends at 65,504
        assert LOSSES.build({"name": name})(logits, target).item() == pytest.approx(
            LOSSES.build({"name": name})(logits.float(), target).item()
        )

    def test_shapes_must_agree(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"logits \(1, 1, 2, 2\) and target \(1, 2, 2\) differ"):
            LOSSES.build({"name": name})(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2))


def test_empty_prediction_of_an_empty_batch_is_no_loss() -> None:
    nothing, empty = torch.full((1, 1, 4, 4), -100.0), torch.zeros(1, 1, 4, 4)
    assert DiceLoss()(nothing, empty).item() == IoULoss()(nothing, empty).item() == 0


@pytest.mark.parametrize("smooth", [0, -1.0, float("nan")])
def test_smoothing_is_above_0(smooth: float) -> None:
    """0 would be 0/0 on a batch without liver."""
    with pytest.raises(UserError, match=rf"loss.smooth={float(smooth)}: expected a number above 0"):
        LOSSES.build({"name": "iou", "smooth": smooth})
