"""Train one model and score it: python -m chaos_seg.train loss=iou"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from chaos_seg.callbacks import EpochTable, ProgressBar, ValidationOverlays
from chaos_seg.checkpoints import AtomicCheckpointIO, read_checkpoint
from chaos_seg.config import CONF_DIR, TrainConfig, checked, plain_errors
from chaos_seg.data.chaos import find_patients
from chaos_seg.data.datamodule import ChaosDataModule
from chaos_seg.data.store import fingerprint
from chaos_seg.errors import UserError
from chaos_seg.evaluate import evaluate_run
from chaos_seg.files import read_json, write_json
from chaos_seg.manifest import recorded_run
from chaos_seg.segmenter import Segmenter

log = logging.getLogger(__name__)


def train(config: TrainConfig, run: Path) -> dict[str, Any]:
    """Train as `config` says in the run folder `run`, then score the best checkpoint on every side.

    Returns:
        The content of summary.json; nothing on processes of a distributed run other than the first.

    Raises:
        UserError: anything wrong with the data, the configuration, the checkpoint or the loss.
    """
    first_process = getattr(rank_zero_only, "rank", 0) == 0
    if not first_process:
        return _fit_and_score(config, run, lambda **facts: None)
    with recorded_run(run, resume=config.ckpt_path is not None) as record:
        return _fit_and_score(config, run, record)


def _fit_and_score(config: TrainConfig, run: Path, record: Callable[..., None]) -> dict[str, Any]:
    L.seed_everything(config.seed, workers=True, verbose=False)
    root = config.data.tree()
    split = config.data.split.split(list(find_patients(root)))
    datamodule = ChaosDataModule(
        root,
        Path(config.data.store),
        split,
        image_size=config.image_size,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        seed=config.seed,
        **asdict(config.transform),
    )
    datamodule.prepare()
    segmenter = Segmenter(
        model=asdict(config.model),
        loss=config.loss,
        preprocessing={
            "image_size": config.image_size,
            "level_hu": config.transform.level_hu,
            "width_hu": config.transform.width_hu,
        },
        learning_rate=config.learning_rate,
        threshold=config.threshold,
        seed=config.seed,
    )
    checkpoint = _resumable(config, segmenter, asdict(split), run)
    tensorboard = TensorBoardLogger(run, name=None, version="tb", default_hp_metric=False)
    every_epoch: dict[str, Any] = {
        "dirpath": run / "checkpoints",
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    ours: dict[str, Any] = {
        "max_epochs": config.epochs,
        "logger": [tensorboard, EpochTable(run / "metrics.csv")],
        "callbacks": [
            # Not save_last: Lightning then renews last.ckpt only together with best.ckpt.
            ModelCheckpoint(filename="best", monitor="val/dice", mode="max", **every_epoch),
            ModelCheckpoint(filename="last", **every_epoch),
            ValidationOverlays(config.overlay_every_epochs),
            ProgressBar(),
        ],
        "plugins": [AtomicCheckpointIO()],
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(**{**ours, **config.trainer})
    volumes = datamodule.volumes
    if trainer.is_global_zero:
        write_json(run / "split.json", asdict(split))
        record(
            device=_device_name(trainer.strategy.root_device),
            seed=config.seed,
            data={"root": str(root), "fingerprint": fingerprint(volumes), "patients": len(volumes)},
            synthetic=any(volume.meta.synthetic for volume in volumes),
        )
        log.info(
            "%s loss: %d training and %d validation slices, %d epochs, %s, %s",
            config.loss["name"],
            len(datamodule.datasets["train"]),
            len(datamodule.datasets["val"]),
            config.epochs,
            _device_name(trainer.strategy.root_device),
            run,
        )
    with logging_redirect_tqdm():
        trainer.fit(segmenter, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    if not trainer.is_global_zero:
        return {}
    summary = evaluate_run(
        run,
        run / "checkpoints" / "best.ckpt",
        {side: dataset.volumes for side, dataset in datamodule.datasets.items()},
        output=run,
        threshold=config.threshold,
        batch_size=config.batch_size,
        num_workers=datamodule.num_workers,
        trainer=config.trainer,
    )
    scores = {
        f"hp/{side}_{name}": means[side]
        for name, means in summary["averages"].items()
        for side in datamodule.datasets
        if name in ("volume_dice", "slice_dice")
    }
    told = ("loss", "seed", "image_size", "batch_size", "learning_rate", "epochs", "threshold", "model", "transform")
    settings = {key: value for key, value in asdict(config).items() if key in told}
    tensorboard.log_hyperparams(settings, scores)
    tensorboard.finalize("success")
    return summary


def _resumable(config: TrainConfig, segmenter: Segmenter, split: dict[str, Any], run: Path) -> str | None:
    """The checkpoint to go on from, when it is of this very experiment; None to begin with the first epoch."""
    if config.ckpt_path is None:
        return None
    path = Path(config.ckpt_path)
    if not path.exists():  # stopped before the first epoch ended: nothing is lost by starting again
        log.info("%s: no epoch had ended; the run starts again.", path)
        return None
    checkpoint = read_checkpoint(path)
    asked, saved = dict(segmenter.hparams), checkpoint["hyper_parameters"]
    if (run / "split.json").exists():
        asked["split"] = {side: list(patients) for side, patients in split.items()}
        saved = {**saved, "split": read_json(run / "split.json")}
    for key, value in asked.items():
        if saved[key] != value:
            raise UserError(
                f"{path}: the checkpoint was made with {key} = {saved[key]}, this command asks for {value}; leave "
                "the override out to resume, or start a new run."
            )
    if checkpoint["epoch"] + 1 > config.epochs:
        raise UserError(
            f"{path}: the checkpoint has {checkpoint['epoch'] + 1} epochs, this command asks for {config.epochs}; "
            "ask for as many or more."
        )
    return str(path)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _original_command(ckpt_path: str, overrides: list[str]) -> DictConfig:
    """The configuration of the run that `ckpt_path` belongs to, with `overrides` on top."""
    saved = Path(ckpt_path).resolve().parents[1] / ".hydra" / "overrides.yaml"
    if not saved.is_file():
        raise UserError(
            f"ckpt_path={ckpt_path}: expected <run folder>/checkpoints/last.ckpt, found no {saved}; name the "
            "checkpoint in the folder of the run to resume."
        )
    return compose("train", overrides=[*OmegaConf.load(saved), *overrides])


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="train")
@plain_errors
def main(cfg: DictConfig) -> None:
    config = checked(TrainConfig, cfg)
    context = HydraConfig.get()
    if context.mode == RunMode.MULTIRUN and (config.ckpt_path or config.trainer.get("devices") != 1):
        raise UserError(
            "--multirun: expected one device and no ckpt_path, since several processes would each start the sweep; "
            "run the jobs one by one."
        )
    if config.ckpt_path is not None:
        config = checked(TrainConfig, _original_command(config.ckpt_path, list(context.overrides.task)))
    train(config, Path(context.runtime.output_dir))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", ".*(does not have many workers|isinstance.treespec, LeafSpec).*")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    main()
