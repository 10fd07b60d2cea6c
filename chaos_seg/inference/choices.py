"""What a command leaves open or asks of its models: the device, the threshold, temperatures."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from chaos_seg.errors import UserError
from chaos_seg.networks.model import Model

log = logging.getLogger(__name__)


def chosen_device(name: str) -> torch.device:
    """`auto` is a GPU when there is one; any other name is torch's: cpu, cuda, cuda:1.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"device={name}: {reason}; choose auto or cpu.") from None
    return device


def common_threshold(models: Sequence[Model]) -> float:
    """Raises UserError where models were trained with several."""
    thresholds = sorted({model.threshold for model in models})
    if len(thresholds) > 1:
        raise UserError(f"ckpt: the models were trained with thresholds {thresholds}; choose one with threshold=.")
    return thresholds[0]


def common_modality(models: Sequence[Model]) -> str:
    """What models were trained on, CT where a checkpoint does not say. Raises UserError when they differ."""
    modalities = {(model.training_range or {}).get("modality", "CT") for model in models}
    if len(modalities) > 1:
        raise UserError("ckpt: expected models of one modality, found some of CT and some of MR; name those of one.")
    return str(modalities.pop())


def expect_temperatures(
    models: Sequence[Model], paths: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None
) -> None:
    """Raises UserError for a model without a temperature where `options` of the formats ask for calibrated ones."""
    if not (options or {}).get("probability", {}).get("calibrated"):
        return
    for model, path in zip(models, paths, strict=True):
        if model.temperature is None:
            raise UserError(
                f"{path}: expected a temperature for calibrated probabilities, found none: it is fitted on validation "
                "patients with liver when a run ends; score its run again with python -m chaos_seg.evaluate run=RUN, "
                "or take format.probability.calibrated=false."
            )


def chosen_largest(models: Sequence[Model], asked: bool | None) -> bool:
    """Whether to keep the largest component alone: as asked, or as validation patients of all models speak for it."""
    if asked is not None:
        return asked
    if kept := all(model.largest_component for model in models):
        log.info("The largest part of each mask alone is kept, as the models' validation patients speak for it.")
    return kept
