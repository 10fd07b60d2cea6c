"""Segmentation losses on logits, and the registry that makes `loss=<name>` find them.

A new loss is a class here with `@register_loss("name")` and a file conf/loss/name.yaml. A package of its own registers
one through the entry point group `chaos_seg.losses` and is then named with `loss.name=...`.
"""

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from chaos_seg.errors import UserError

LOSSES: dict[str, type[nn.Module]] = {}


def register_loss(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator: make the loss known as `name`.

    The class takes its options as keyword arguments, and its forward takes logits and targets, both (N, 1, H, W),
    and returns a scalar.
    """

    def add(loss: type[nn.Module]) -> type[nn.Module]:
        LOSSES[name] = loss
        return loss

    return add


def build_loss(name: str, **options: object) -> nn.Module:
    """The loss registered as `name`, here or by an installed package, with its options.

    Raises:
        UserError: no such loss, or an option that it does not have.
    """
    loss, _ = _bound(name, options)
    built: nn.Module = loss(**options)
    return built


def complete_loss(name: str, **options: object) -> dict[str, Any]:
    """The name and every option of a loss, those left out at their defaults: equal when build_loss builds the same.

    Raises:
        UserError: as build_loss().
    """
    _, bound = _bound(name, options)
    parameters = bound.signature.parameters.items()
    defaults = {key: parameter.default for key, parameter in parameters if parameter.default is not parameter.empty}
    complete = {**defaults, **options}
    floats = {key: float(v) for key, v in complete.items() if type(v) is int and type(defaults.get(key)) is float}
    return {"name": name, **complete, **floats}


def _bound(name: str, options: dict[str, object]) -> tuple[type[nn.Module], inspect.BoundArguments]:
    """The class of a loss, and `options` as arguments of it."""
    plugins = {entry.name: entry for entry in entry_points(group="chaos_seg.losses")}
    if name not in LOSSES and name not in plugins:
        raise UserError(f"loss.name={name}: expected one of {', '.join(sorted({*LOSSES, *plugins}))}.")
    loss = LOSSES[name] if name in LOSSES else plugins[name].load()
    try:
        return loss, inspect.signature(loss).bind(**options)
    except TypeError as error:
        takes = ", ".join(inspect.signature(loss).parameters) or "none"
        raise UserError(f"loss {name}: {error}; its options are: {takes}.") from None


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


@register_loss("bce")
class BCELoss(nn.Module):
    """Binary cross-entropy, mean over pixels of -t log p - (1 - t) log(1 - p), computed from the logits."""

    def __init__(self) -> None:  # nn.Module's own takes any option, to fail later
        super().__init__()

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if logits.shape != target.shape:
            raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)} differ in shape")
        return functional.binary_cross_entropy_with_logits(logits.float(), target.float())


@register_loss("dice")
class DiceLoss(nn.Module):
    """1 - (2 I + s) / (T + s), with I and T as in soft_overlap and s = `smooth`; Milletari et al. 2016 square p."""

    def __init__(self, smooth: float = 1.0):
        super().__init__()
        self.smooth = _above_0(smooth)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        intersection, total = soft_overlap(logits, target)
        return 1 - (2 * intersection + self.smooth) / (total + self.smooth)


@register_loss("iou")
class IoULoss(nn.Module):
    """1 - (I + s) / (T - I + s), the soft Jaccard loss, with I and T as in soft_overlap and s = `smooth`."""

    def __init__(self, smooth: float = 1.0):
        super().__init__()
        self.smooth = _above_0(smooth)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        intersection, total = soft_overlap(logits, target)
        return 1 - (intersection + self.smooth) / (total - intersection + self.smooth)
