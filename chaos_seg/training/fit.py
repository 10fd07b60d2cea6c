"""One run: from scans and settings to a checkpoint, in its run folder."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from chaos_seg.data.appearance import Fingerprint, TrainingRange
from chaos_seg.data.datamodule import ChaosDataModule
from chaos_seg.data.scan import Scan
from chaos_seg.data.store import data_hash
from chaos_seg.errors import UserError
from chaos_seg.files import read_csv
from chaos_seg.registry import LOGGERS, build_all
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.callbacks import ProgressBar, ValidationOverlays
from chaos_seg.training.checkpoints import AtomicCheckpointIO, RunCheckpoint, read_checkpoint
from chaos_seg.training.loggers import EpochTable, RunTensorBoard
from chaos_seg.training.segmenter import Segmenter

log = logging.getLogger(__name__)


def training_range(volumes: Sequence[Scan]) -> dict[str, Any]:
    """What the training scans look like, for a model to say how another scan differs; plain values."""
    seen = [Fingerprint.sampled(volume) for volume in volumes]
    return asdict(TrainingRange.of(seen))


def trainer_options(
    run: RunFolder, epochs: int, overlay_every_epochs: int, loggers: Mapping[str, Any]
) -> dict[str, Any]:
    """Of lightning.Trainer, for a run that keeps its best and its last checkpoint in its folder."""
    every_epoch: dict[str, Any] = {
        "dirpath": str(run.checkpoints),
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    return {
        "max_epochs": epochs,
        "logger": [*build_all(LOGGERS, loggers, run.path), EpochTable(run.metrics)],
        "callbacks": [
            # Not save_last: Lightning then renews last.ckpt only together with best.ckpt.
            RunCheckpoint(filename="best", monitor="val/dice", mode="max", **every_epoch),
            RunCheckpoint(filename="last", **every_epoch),
            ValidationOverlays(overlay_every_epochs),
            ProgressBar(),
        ],
        "plugins": [AtomicCheckpointIO()],
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
    }


def fit(segmenter: Segmenter, data: ChaosDataModule, trainer: L.Trainer, checkpoint: str | None) -> None:
    """Train, from `checkpoint` on where one is given."""
    with logging_redirect_tqdm():
        trainer.fit(segmenter, datamodule=data, ckpt_path=checkpoint, weights_only=True)


def resumable(ckpt_path: str, run: RunFolder, segmenter: Segmenter, epochs: int) -> str | None:
    """The checkpoint to go on from, when it is this run's; None to begin with the first epoch.

    Raises:
        UserError: another run's or another network's checkpoint, fewer epochs than it has, or none where there was one.
    """
    path = Path(ckpt_path).resolve()
    if path != run.checkpoint("last").resolve():
        raise UserError(
            f"ckpt_path={ckpt_path}: expected {run.checkpoint('last')}, the last checkpoint of the run in this folder; "
            "name it to resume, or leave ckpt_path out to start a new run."
        )
    if not path.exists() and (not run.metrics.exists() or len(read_csv(run.metrics)) < 2):
        log.info("%s: stopped before its first epoch was saved; the run starts again.", run.path)
        return None
    checkpoint = read_checkpoint(path)
    if checkpoint["hyper_parameters"]["network"] != segmenter.hparams["network"]:
        raise UserError(
            f"{path}: expected a checkpoint of the network {segmenter.hparams['network']}, found one of "
            f"{checkpoint['hyper_parameters']['network']}; name a checkpoint of this run."
        )
    if checkpoint["epoch"] + 1 > epochs:
        raise UserError(
            f"{path}: the checkpoint has {checkpoint['epoch'] + 1} epochs, this command asks for {epochs}; "
            "ask for as many or more."
        )
    return str(path)


@dataclass(frozen=True)
class DataFacts:
    """What a manifest says of a run's data."""

    root: str
    fingerprint: str
    patients: int
    audit: Mapping[str, int] | str
    synthetic: bool

    @classmethod
    def of(cls, root: str, volumes: Sequence[Scan], audit: Mapping[str, int] | str) -> "DataFacts":
        synthetic = any(volume.synthetic for volume in volumes)
        return cls(root, data_hash(volumes), len(volumes), audit, synthetic)

    def for_manifest(self) -> dict[str, Any]:
        data = {key: value for key, value in asdict(self).items() if key != "synthetic"}
        return {"data": data, "synthetic": self.synthetic}


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def log_scores(trainer: L.Trainer, settings: Mapping[str, Any], averages: Mapping[str, Mapping[str, float]]) -> None:
    """Hyper-parameters beside both Dices of each side, for TensorBoard's HParams."""
    scores = {
        f"hp/{side}_{name}": value
        for name, means in averages.items()
        for side, value in means.items()
        if name in ("volume_dice", "slice_dice") and side in ("train", "val", "test")
    }
    for logger in trainer.loggers:
        if isinstance(logger, RunTensorBoard):
            logger.log_hyperparams(dict(settings), scores)
            logger.finalize("success")
