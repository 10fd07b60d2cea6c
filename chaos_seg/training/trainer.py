"""Lightning's trainer with the options of a run: devices and precision, checkpoints, loggers and callbacks."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException

from chaos_seg.errors import UserError
from chaos_seg.registry import LOGGERS, build_all
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.callbacks import ProgressBar, ValidationOverlays
from chaos_seg.training.levers import HalfSize
from chaos_seg.training.loggers import EpochTable
from chaos_seg.training.saving import AtomicCheckpointIO, RunCheckpoint

log = logging.getLogger(__name__)


def build_trainer(settings: Mapping[str, Any], folder: Path, plugins: Sequence[Any] = (), **options: Any) -> L.Trainer:
    """A Lightning trainer with a run's `trainer` settings and others on top, whose own files, if any, are in `folder`.

    In a Slurm job Lightning would answer SIGUSR1 with a checkpoint beside ours, and start whatever it does next in
    that folder, scoring too, with those weights. Without that the signal ends the run, and last.ckpt resumes it.

    Raises:
        UserError: a value that Lightning refuses, such as a GPU that is not there.
    """
    try:
        in_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()  # as Lightning chooses
        slurm = [SLURMEnvironment(auto_requeue=False)] if in_slurm else []
        options |= {"default_root_dir": folder, "plugins": [*plugins, *slurm]}
        trainer = L.Trainer(**{**settings, **options})
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"trainer: {reason}; choose another trainer=... or trainer.<option>.") from None
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and trainer.precision.startswith("bf16") and _lacks_bfloat16():
        log.warning("trainer.precision=%s: this processor has no bfloat16, 32-true is faster here", trainer.precision)
    return trainer


def _lacks_bfloat16() -> bool:
    """Whether torch knows that the processor does not compute in bfloat16; older ones know nothing of it."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known) and not any(has for name, has in known.items() if "bf16" in name)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def trainer_options(
    run: RunFolder,
    epochs: int,
    overlay_every_epochs: int,
    loggers: Mapping[str, Any],
    beside: Sequence[L.Callback] = (),
    best_by: str = "validation",
) -> dict[str, Any]:
    """Of lightning.Trainer, for a run that keeps its best and its last checkpoint in its folder; `best_by` last, the
    best is the last.
    """
    others = {name: options for name, options in loggers.items() if name != "csv"}
    monitor = "val/dice" if best_by == "validation" else None
    half_size = sum(callback.epochs for callback in beside if isinstance(callback, HalfSize))
    every_epoch: dict[str, Any] = {
        "dirpath": str(run.checkpoints),
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    return {
        "max_epochs": epochs,
        "logger": [*build_all(LOGGERS, others, run.path), EpochTable(run.metrics, epochs, half_size)],
        "callbacks": [
            # Not save_last: Lightning then renews last.ckpt only together with best.ckpt.
            RunCheckpoint(filename="best", monitor=monitor, mode="max", **every_epoch),
            RunCheckpoint(filename="last", **every_epoch),
            ValidationOverlays(overlay_every_epochs),
            ProgressBar(),
            *beside,
        ],
        "plugins": [AtomicCheckpointIO()],
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
    }
