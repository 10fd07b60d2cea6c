import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.registry import OPTIMIZERS, SCHEDULERS


def rates(steps: int, **schedule: object) -> list[float]:
    optimizer = OPTIMIZERS.build({"name": "adam", "learning_rate": 2.0}, [torch.zeros(1, requires_grad=True)])
    scheduler = SCHEDULERS.build({"name": "cosine", **schedule}, optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def test_cosine_rises_to_the_rate_and_falls_to_0() -> None:
    assert rates(8, warmup=0.5) == pytest.approx([0.5, 1, 1.5, 2, 2, 2 * 0.8535534, 1, 2 * 0.1464466, 0])
    assert rates(4, warmup=0)[0] == 2 and rates(4, warmup=0)[-1] == pytest.approx(0)
    for warmup in (-0.1, 1):
        with pytest.raises(UserError, match=rf"scheduler.warmup={float(warmup)}: expected a share of the steps"):
            rates(4, warmup=warmup)


def test_constant_makes_no_schedule() -> None:
    assert SCHEDULERS.build({"name": "constant"}, None, 4) is None


def test_optimizers_have_their_rate_and_decay() -> None:
    weights = [torch.zeros(1, requires_grad=True)]
    adam = OPTIMIZERS.build({"name": "adam", "learning_rate": 0.1}, weights)
    adamw = OPTIMIZERS.build({"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.3}, weights)
    assert type(adam) is torch.optim.Adam and adam.defaults == torch.optim.Adam(weights, lr=0.1).defaults
    expected = torch.optim.AdamW(weights, lr=0.1, weight_decay=0.3, fused=True).defaults
    assert type(adamw) is torch.optim.AdamW and adamw.defaults == expected
