"""One run: from scans and settings to a checkpoint, in its run folder."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L

from chaos_seg.data.appearance import Appearance, TrainingRange
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.files import read_csv
from chaos_seg.registry import NETWORKS
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.checkpoints import read_checkpoint
from chaos_seg.training.loggers import RunTensorBoard
from chaos_seg.training.segmenter import Segmenter

log = logging.getLogger(__name__)


def training_range(volumes: Sequence[Scan]) -> dict[str, Any]:
    """What the training scans look like, for a model to say how another scan differs; plain values."""
    appearances = [Appearance.sampled(volume) for volume in volumes]
    return asdict(TrainingRange.of(appearances))


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
    trained, wanted = NETWORKS.complete(checkpoint["hyper_parameters"]["network"]), segmenter.hparams["network"]
    if trained != wanted:
        raise UserError(
            f"{path}: expected a checkpoint of the network {wanted}, found one of {trained}; name a checkpoint of this "
            "run."
        )
    if checkpoint["epoch"] + 1 > epochs:
        raise UserError(
            f"{path}: the checkpoint has {checkpoint['epoch'] + 1} epochs, this command asks for {epochs}; "
            "ask for as many or more."
        )
    return str(path)


HYPER_PARAMETERS = (
    *("loss", "seed", "image_size", "batch_size", "learning_rate", "epochs", "threshold"),
    *("network", "optimizer", "scheduler", "preprocessing", "augmentation"),
)


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
            logger.log_hyperparams({key: settings[key] for key in HYPER_PARAMETERS}, scores)
            logger.finalize("success")
