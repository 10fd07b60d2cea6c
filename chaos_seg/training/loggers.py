"""Where the curves of a run go, by name; each is made of the run folder. metrics.csv every run has.

One with `log_scores(settings, scores)` gets hyper-parameters and both Dices of each side when the run was scored.
"""

import hashlib
import logging
import os
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from chaos_seg.errors import UserError
from chaos_seg.files import read_csv, write_csv
from chaos_seg.registry import LOGGERS
from chaos_seg.reporting.study_view import duration
from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import flat

log = logging.getLogger(__name__)

LARGER = 3  # 58 and 20 ms a slice of 256 px on one core


class EpochTable(Logger):
    """metrics.csv: a row an epoch, rewritten atomically. Lightning's CSVLogger has a row for each call instead.

    With the number of `epochs` it says how long the others take, if they are like the last one; those after the first
    `half_size` train LARGER times as long.
    """

    def __init__(self, path: Path, epochs: int | None = None, half_size: int = 0):
        super().__init__()
        self.path, self.epochs, self.half_size, self._since = path, epochs, half_size, time.monotonic()

    name = version = None

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None  # the epoch
        rows: list[dict[str, Any]] = list(read_csv(self.path)) if self.path.exists() else []
        # A run killed between this and its checkpoint repeats the epoch when it is resumed.
        rows = [row for row in rows if int(row["epoch"]) < step]
        write_csv(self.path, [*rows, {"epoch": step, **metrics}])
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        left = (self.epochs or 0) - step - 1
        larger = max(0, (self.epochs or 0) - self.half_size) if step < self.half_size else 0
        seconds_left = left * seconds + (LARGER - 1) * larger * metrics.get("train/seconds", 0.0)
        log.info(
            "epoch %d%s: loss %.4f, validation loss %.4f, validation Dice %.3f, %.0f ms a training slice%s",
            step + 1,
            f" of {self.epochs}" if self.epochs else "",
            metrics["train/loss"],
            metrics["val/loss"],
            metrics["val/dice"],
            metrics["train/ms_per_slice"],
            f", about {duration(seconds_left)} left" if left > 0 else "",
        )

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: they are in config.yaml."""


class RunTensorBoard(TensorBoardLogger):
    """TensorBoard's files in the run folder, whatever its name: Lightning expands $HOME in it."""

    @property
    def log_dir(self) -> str:
        return str(Path(self.root_dir) / str(self.version))

    def log_scores(self, settings: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        self.log_hyperparams(dict(settings), dict(scores))
        self.finalize("success")


class RunWandb(WandbLogger):
    """A run of Weights & Biases that ends with ours: the next job of a sweep begins its own."""

    @property
    def experiment(self) -> Any:
        try:
            return super().experiment
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"logger wandb: {error}; run wandb login, or take logger.wandb.offline=true.") from error

    @rank_zero_only
    def log_scores(self, settings: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        self.log_hyperparams(dict(settings))
        self.experiment.summary.update(scores)
        self.experiment.finish()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if status != "success":
            self.experiment.finish(exit_code=1)


class RunMlflow(MLFlowLogger):
    """A run of MLflow; a resumed one goes on in it."""

    @rank_zero_only
    def log_scores(self, settings: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        known = self.experiment.get_run(self.run_id).data.params  # MLflow refuses another value of a parameter
        named = {key.replace(".", "/"): value for key, value in flat(dict(settings)).items()}
        self.log_hyperparams({key: value for key, value in named.items() if key not in known})
        self.log_metrics(scores)


@LOGGERS.register("csv")
def csv(folder: Path) -> Logger:
    """metrics.csv alone."""
    return EpochTable(RunFolder(folder).metrics)


@LOGGERS.register("tensorboard")
def tensorboard(folder: Path) -> Logger:
    """Curves, overlays of validation slices and hyper-parameters in tb/: tensorboard --logdir outputs."""
    return RunTensorBoard(folder, name=None, version="tb", default_hp_metric=False)


@LOGGERS.register("wandb", needs=("wandb", "wandb"))
def wandb(folder: Path, project: str = "chaos_seg", offline: bool = True) -> Logger:
    """Curves, hyper-parameters and scores, no pictures: wandb sync RUN/wandb/offline-* sends what was kept offline."""
    folder = folder.resolve()
    number = hashlib.sha256(str(folder).encode()).hexdigest()[:16]  # a resumed run goes on as the same
    return RunWandb(folder.name, folder, id=number, project=project, offline=offline)


@LOGGERS.register("mlflow", needs=("mlflow", "mlflow"))
def mlflow(folder: Path, tracking_uri: str = "outputs/mlruns", experiment: str = "chaos_seg") -> Logger:
    """Curves, hyper-parameters and scores, no pictures, on a server or in a folder of files."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for it
    from mlflow.tracking import MlflowClient

    uri = tracking_uri if ":" in tracking_uri else Path(tracking_uri).resolve().as_uri()
    tags, client = {"run_folder": str(folder.resolve())}, MlflowClient(uri)
    known = client.get_experiment_by_name(experiment)
    ids = [known.experiment_id] if known else []
    earlier = client.search_runs(ids, f"tags.run_folder = '{tags['run_folder']}'", max_results=1) if ids else []
    run_id = earlier[0].info.run_id if earlier else None
    return RunMlflow(experiment, folder.resolve().name, uri, tags, run_id=run_id)
