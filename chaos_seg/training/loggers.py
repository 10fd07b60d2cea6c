"""Where the curves of a run go beside its metrics.csv, by name; each is made of the run folder."""

import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from chaos_seg.files import read_csv, write_csv
from chaos_seg.registry import LOGGERS

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


@LOGGERS.register("tensorboard")
def tensorboard(folder: Path) -> Logger:
    """Curves, overlays of validation slices and hyper-parameters in tb/: tensorboard --logdir outputs."""
    return RunTensorBoard(folder, name=None, version="tb", default_hp_metric=False)
