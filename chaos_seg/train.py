"""Train one model and score it: python -m chaos_seg.train loss=iou"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("train")  # before the imports that take seconds

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from chaos_seg.command_line import hydra_command
from chaos_seg.config import TrainConfig, as_yaml, checked
from chaos_seg.data.appearance import Fingerprint, TrainingRange
from chaos_seg.data.audit import counted, refuse_errors
from chaos_seg.data.datamodule import ChaosDataModule, worker_count
from chaos_seg.data.store import fingerprint
from chaos_seg.errors import UserError
from chaos_seg.evaluate import evaluate_run
from chaos_seg.files import read_csv, read_json, write_bytes, write_json
from chaos_seg.manifest import recorded_run
from chaos_seg.reporting.runs import flat
from chaos_seg.training.callbacks import EpochTable, ProgressBar, RunTensorBoard, ValidationOverlays
from chaos_seg.training.checkpoints import AtomicCheckpointIO, RunCheckpoint, read_checkpoint
from chaos_seg.training.losses import complete_loss
from chaos_seg.training.segmenter import Segmenter

log = logging.getLogger(__name__)


def train(config: TrainConfig, run: Path) -> dict[str, Any]:
    """Train as `config` says in the run folder `run`, then score the best checkpoint on every side.

    Returns:
        The content of summary.json, with NaN where that has null; nothing on processes of a distributed run other
        than the first.

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
    config.loss = complete_loss(**config.loss)
    root = config.data.tree()
    split = config.data.divided(root)
    datamodule = ChaosDataModule(
        root,
        Path(config.data.store),
        split,
        image_size=config.image_size,
        batch_size=config.batch_size,
        num_workers=worker_count(config.num_workers, config.trainer.accelerator),
        seed=config.seed,
        **asdict(config.transform),
    )
    datamodule.prepare()
    audit = refuse_errors(datamodule.volumes, split.sides) if config.data.audit else {}
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
    seen = [
        Fingerprint.sampled(volume.hu, volume.slices, volume.meta.spacing_mm)
        for volume in datamodule.datasets["train"].volumes
    ]
    segmenter.training_range = asdict(TrainingRange.of(seen))
    config.data.root, config.data.store = str(root.resolve()), str(Path(config.data.store).resolve())
    data_fingerprint = fingerprint(datamodule.volumes)
    checkpoint = _resumable(config, run, data_fingerprint)
    tensorboard = RunTensorBoard(run, name=None, version="tb", default_hp_metric=False)
    every_epoch: dict[str, Any] = {
        "dirpath": str(run / "checkpoints"),
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    options: dict[str, Any] = {
        "max_epochs": config.epochs,
        "logger": [tensorboard, EpochTable(run / "metrics.csv")],
        "callbacks": [
            # Not save_last: Lightning then renews last.ckpt only together with best.ckpt.
            RunCheckpoint(filename="best", monitor="val/dice", mode="max", **every_epoch),
            RunCheckpoint(filename="last", **every_epoch),
            ValidationOverlays(config.overlay_every_epochs),
            ProgressBar(),
        ],
        "plugins": [AtomicCheckpointIO()],
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
    }
    trainer = config.trainer.build(run, **options)
    volumes = datamodule.volumes
    if trainer.is_global_zero:
        write_json(run / "split.json", asdict(split))
        record(
            device=_device_name(trainer.strategy.root_device),
            processes=trainer.world_size,
            seed=config.seed,
            data={
                "root": config.data.root,
                "fingerprint": data_fingerprint,
                "patients": len(volumes),
                "audit": audit if config.data.audit else "off",
            },
            synthetic=any(volume.meta.synthetic for volume in volumes),
        )
        # Last, for it marks the folder as a run that can be resumed.
        write_bytes(run / "config.yaml", as_yaml(config).encode())
        log.info(
            "%s loss: %d training and %d validation slices, %d epochs, %s, %s",
            config.loss["name"],
            len(datamodule.datasets["train"]),
            len(datamodule.datasets["val"]),
            config.epochs,
            _device_name(trainer.strategy.root_device),
            run,
        )
        if "warning" in audit:
            log.info("The audit has %s: python -m chaos_seg.audit data.root=%s", counted(audit), config.data.root)
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


# What may change between a run and its resume: what the weights don't depend on, and how far to go.
_FREE = (
    *("ckpt_path", "epochs", "num_workers", "overlay_every_epochs", "trainer.accelerator"),
    *("data.root", "data.store", "data.audit"),
)


def _resumable(config: TrainConfig, run: Path, data_fingerprint: str) -> str | None:
    """The checkpoint to go on from, when it is of this very experiment; None to begin with the first epoch.

    Raises:
        UserError: another experiment, other data, fewer epochs than it has, or no checkpoint where there was one.
    """
    if config.ckpt_path is None:
        return None
    path = Path(config.ckpt_path)
    if path.resolve() != (run / "checkpoints" / "last.ckpt").resolve():
        raise UserError(
            f"ckpt_path={path}: expected {run / 'checkpoints' / 'last.ckpt'}, the last checkpoint of the run in this "
            "folder; name it to resume, or leave ckpt_path out to start a new run."
        )
    if (run / "config.yaml").is_file():
        expect_same(config, run, data_fingerprint)
    metrics = run / "metrics.csv"
    if not path.exists() and (not metrics.exists() or len(read_csv(metrics)) < 2):
        log.info("%s: stopped before its first epoch was saved; the run starts again.", run)
        return None
    checkpoint = read_checkpoint(path)
    if checkpoint["hyper_parameters"]["model"] != asdict(config.model):
        raise UserError(
            f"{path}: expected a checkpoint of a U-Net with {asdict(config.model)}, found one with "
            f"{checkpoint['hyper_parameters']['model']}; name a checkpoint of this run."
        )
    if checkpoint["epoch"] + 1 > config.epochs:
        raise UserError(
            f"{path}: the checkpoint has {checkpoint['epoch'] + 1} epochs, this command asks for {config.epochs}; "
            "ask for as many or more."
        )
    return str(path)


def expect_same(config: TrainConfig, run: Path, data_fingerprint: str) -> None:
    """Raise UserError unless the run in the folder `run` was made with these settings and on this data."""
    saved = _complete(OmegaConf.to_container(OmegaConf.load(run / "config.yaml"), resolve=True))
    asked = _complete(asdict(config))
    for key in asked | saved:
        if repr(saved.get(key)) != repr(asked.get(key)) and not key.startswith(_FREE):  # 1 batch is not 1.0 of all
            raise UserError(
                f"{run}: the run was made with {key}={saved.get(key)}, this command asks for {asked.get(key)}; leave "
                "that out to resume, or start a new run."
            )
    found = read_json(run / "manifest.json").get("data", {}).get("fingerprint", "missing")
    if found != data_fingerprint:
        raise UserError(
            f"{run}: expected the data that the run began with (fingerprint {found[:12]}), found other slices or "
            f"masks ({data_fingerprint[:12]}) in {config.data.root}; restore them, or start a new run."
        )


def _complete(settings: Any) -> dict[str, Any]:
    """Settings as {"model.base": 8, ...}, with every option of the loss."""
    return flat({**settings, "loss": complete_loss(**settings["loss"])})


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _resumed(ckpt_path: str, overrides: list[str]) -> TrainConfig:
    """The settings of the run that `ckpt_path` belongs to, with `overrides` (KEY=VALUE) on top."""
    saved = Path(ckpt_path).resolve().parent.parent / "config.yaml"
    if not saved.is_file():
        raise UserError(
            f"ckpt_path={ckpt_path}: expected <run folder>/checkpoints/last.ckpt, found no {saved}; name the "
            "checkpoint in the folder of the run to resume."
        )
    changes = OmegaConf.create()
    for override in OverridesParser.create().parse_overrides(overrides):
        OmegaConf.update(changes, override.get_key_element().lstrip("+"), override.value())
    try:
        return checked(TrainConfig, OmegaConf.merge(OmegaConf.load(saved), changes))
    except UserError as error:
        raise UserError(f"{error} A resumed run takes single settings only, such as epochs=800.") from None


@hydra_command("train")
def main(cfg: DictConfig) -> None:
    config = checked(TrainConfig, cfg)
    context = HydraConfig.get()
    if context.mode == RunMode.MULTIRUN and (config.ckpt_path or config.trainer.devices != 1):
        raise UserError(
            "--multirun: expected one device and no ckpt_path, since several processes would each start the sweep; "
            "run the jobs one by one."
        )
    if config.ckpt_path is not None:
        overrides = cast(list[str], OmegaConf.to_container(context.overrides.task))  # as they were given
        config = _resumed(config.ckpt_path, overrides)
    train(config, Path(context.runtime.output_dir))


if __name__ == "__main__":
    main()
