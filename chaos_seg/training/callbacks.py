"""What happens beside training: a row an epoch in metrics.csv, and pictures of validation slices in TensorBoard."""

import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from chaos_seg.files import read_csv, write_csv
from chaos_seg.reporting.overlays import overlay
from chaos_seg.training.segmenter import Segmenter

log = logging.getLogger(__name__)


class EpochTable(Logger):
    """metrics.csv: a row an epoch, rewritten atomically. Lightning's CSVLogger has a row for each call instead."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    name = version = None

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None  # the epoch
        rows: list[dict[str, Any]] = list(read_csv(self.path)) if self.path.exists() else []
        # A run killed between this and its checkpoint repeats the epoch when it is resumed.
        rows = [row for row in rows if int(row["epoch"]) < step]
        write_csv(self.path, [*rows, {"epoch": step, **metrics}])
        log.info(
            "epoch %d: loss %.4f, validation loss %.4f, validation Dice %.3f, %.0f ms a training slice",
            step + 1,
            metrics["train/loss"],
            metrics["val/loss"],
            metrics["val/dice"],
            metrics["train/ms_per_slice"],
        )

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: they are in config.yaml."""


class RunTensorBoard(TensorBoardLogger):
    """TensorBoard's files in the run folder, whatever its name: Lightning expands $HOME in it."""

    @property
    def log_dir(self) -> str:
        return str(Path(self.root_dir) / str(self.version))


class ProgressBar(TQDMProgressBar):
    """A bar for the epoch or the scoring at hand, on a terminal only: a log gets a line an epoch."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=1 if sys.stderr.isatty() else 0)

    @property
    def predict_description(self) -> str:
        return "Scoring"

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        return {key: value for key, value in super().get_metrics(trainer, pl_module).items() if key != "v_num"}


class ValidationOverlays(L.Callback):
    """True and predicted outline on the slice with most liver of each validation patient, at most 4."""

    def __init__(self, every_epochs: int):
        self.every_epochs = every_epochs

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.state.fn != TrainerFn.FITTING or (trainer.current_epoch % self.every_epochs and not last):
            return
        assert isinstance(pl_module, Segmenter)
        writer = next(logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)).experiment
        dataset = trainer.datamodule.datasets["val"]  # type: ignore[attr-defined]
        level, half_width = dataset.level_hu, dataset.width_hu / 2
        first = 0
        for volume in dataset.volumes[:4]:
            liver = volume.meta.liver_pixels
            sample = dataset[first + liver.index(max(liver))]
            with torch.no_grad():
                logits = pl_module(sample["image"][None].to(pl_module.device))[0, 0]
            predicted = (logits > pl_module.logit_threshold).cpu().numpy()
            hu = sample["image"][0].numpy() * half_width + level
            picture = overlay(hu, sample["mask"][0].numpy() > 0, predicted)
            tag = f"validation{' (synthetic)' if volume.meta.synthetic else ''}/patient {volume.patient}"
            writer.add_image(tag, picture, trainer.current_epoch, dataformats="HWC")
            first += volume.slices
