"""Optimisers and learning-rate schedules by name.

An optimiser is made of the network's parameters, a schedule of an optimiser and the number of its steps.
"""

import math
from collections.abc import Iterable

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from chaos_seg.errors import UserError
from chaos_seg.registry import OPTIMIZERS, SCHEDULERS


@OPTIMIZERS.register("adam")
def adam(parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Kingma and Ba 2015 (arXiv:1412.6980), betas 0.9 and 0.999 as in Keras and torch."""
    return torch.optim.Adam(parameters, lr=learning_rate)


@OPTIMIZERS.register("adamw")
def adamw(
    parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    """Loshchilov and Hutter 2019 (arXiv:1711.05101): weight decay apart from the gradient. It takes one pass over
    all weights, not one for each layer.
    """
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


@SCHEDULERS.register("constant")
def constant(optimizer: torch.optim.Optimizer, steps: int) -> None:
    """The learning rate as it is, as in the study."""


@SCHEDULERS.register("cosine")
def cosine(optimizer: torch.optim.Optimizer, steps: int, warmup: float = 0.1) -> LRScheduler:
    """Linear over the share `warmup` of the steps, then half a cosine to 0 (arXiv:1608.03983, without restarts)."""
    if not 0 <= warmup < 1:
        raise UserError(f"scheduler.warmup={warmup}: expected a share of the steps, from 0 to below 1.")
    rising = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1))) / 2

    return LambdaLR(optimizer, factor)
