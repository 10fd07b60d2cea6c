"""An experiment from its settings to a scored run folder: what the doors `train` and `study` share."""

import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from tqdm.contrib.logging import logging_redirect_tqdm

from chaos_seg.config import TrainConfig
from chaos_seg.data.audit import counted, refuse_errors
from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.datamodule import ChaosDataModule, worker_count
from chaos_seg.data.sources import Source
from chaos_seg.data.splits import SIDES, Split
from chaos_seg.data.store import StoredScan, data_hash, open_patients
from chaos_seg.evaluation.scores import check_metrics
from chaos_seg.inference.predictor import Predictor
from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import as_yaml, complete_settings, flat, free_to_resume, network_input, weights_update
from chaos_seg.scoring.run import score_run
from chaos_seg.training.checkpoints import keep_chosen, load_model
from chaos_seg.training.fit import log_scores, resumable, training_range
from chaos_seg.training.initial import begun, told
from chaos_seg.training.levers import Compile, levers
from chaos_seg.training.segmenter import Segmenter
from chaos_seg.training.trainer import build_trainer, device_name, trainer_options

log = logging.getLogger(__name__)


def train(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Train as `config` says in the run folder `folder`, then score the best checkpoint on every side.

    Returns:
        The content of summary.json, with NaN where that has null; nothing on processes of a distributed run other
        than the first.

    Raises:
        UserError: anything wrong with the data, the configuration, the checkpoint or the loss.
    """
    run, first_process = RunFolder(folder), getattr(rank_zero_only, "rank", 0) == 0
    if not first_process:
        return _fit_and_score(config, run, lambda **facts: None)
    with run.recorded(config.ckpt_path is not None, torch.get_num_threads()) as record:
        return _fit_and_score(config, run, record)


def _fit_and_score(config: TrainConfig, run: RunFolder, record: Callable[..., None]) -> dict[str, Any]:
    L.seed_everything(config.seed, workers=True, verbose=False)
    config = completed(config)
    check_metrics()
    segmenter = segmenter_of(config)
    init = begun(segmenter, config.init, config.freeze_encoder, run if config.ckpt_path else None)
    sides, split = open_sides(config)
    scans = [scan for of_side in sides.values() for scan in of_side]
    audit = refuse_errors(scans, split.sides) if config.data.audit else {}
    workers = worker_count(config.num_workers, config.trainer.accelerator)
    how = {"batch_size": config.batch_size, "num_workers": workers, "seed": config.seed}
    data = ChaosDataModule(sides, segmenter.preprocessing, Augmentation(config.augmentation), **how)
    segmenter.training_range = training_range(sides["train"])
    facts: dict[str, Any] = {
        "root": config.data.root,
        "fingerprint": data_hash(scans),
        "patients": len(scans),
        "audit": audit if config.data.audit else "off",
    }
    if config.ckpt_path is not None and run.exists:
        settings = {**flat(asdict(config)), "init": init and init["sha256"]}
        run.expect_same(settings, facts["fingerprint"], free_to_resume(asdict(config)))
    checkpoint = resumable(config.ckpt_path, run, segmenter, config.epochs) if config.ckpt_path else None
    compiled = Compile(config.batch_size, lambda outcome: record(compile=outcome)) if config.compile else None
    beside = levers(config.ema_decay, config.small_epochs(), compiled)
    options = trainer_options(run, config.epochs, config.overlay_every_epochs, config.logger, beside, config.best_by)
    trainer = build_trainer(asdict(config.trainer), run.path, **options)
    if trainer.is_global_zero:
        device = device_name(trainer.strategy.root_device)
        made = any(scan.synthetic for scan in scans)
        record(device=device, processes=trainer.world_size, seed=config.seed, data=facts, init=init, synthetic=made)
        run.begin(as_yaml(asdict(config)), split)  # marks the folder as a run that can be resumed
        if init and not checkpoint:
            log.info("%s", told(init))
        head = f"{config.loss['name']} loss: {len(data.datasets['train'])} training and {len(data.datasets['val'])}"
        log.info("%s validation slices, %d epochs, %s, %s", head, config.epochs, device, run.path)
        if "warning" in audit:
            log.info("The audit has %s: python -m chaos_seg.audit data.root=%s", counted(audit), config.data.root)
    with logging_redirect_tqdm():
        trainer.fit(segmenter, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    if not trainer.is_global_zero:
        return {}
    best, epoch = load_model(run.checkpoint("best"))
    predictor = Predictor([best], trainer.strategy.root_device, config.batch_size)
    summary = score_run(run, predictor, (run.checkpoint("best").name, epoch), sides, run, config.threshold)
    if summary["temperature"] is None:
        log.info("No temperature was fitted: no validation patient has liver. predict can't calibrate this model.")
    keep_chosen(run.checkpoint("best"), summary)
    log_scores(trainer, asdict(config), summary["averages"])
    return summary


def completed(config: TrainConfig) -> TrainConfig:
    """With every option of every slot; raises UserError for one that a slot does not have."""
    settings = complete_settings(asdict(config))
    slots = ("network", "loss", "optimizer", "scheduler", "preprocessing", "augmentation", "logger")
    data = replace(config.data, source=settings["data"]["source"], split=settings["data"]["split"])
    init = config.init and str(Path(config.init).resolve())
    return replace(config, data=data, init=init, **{slot: settings[slot] for slot in slots})


def segmenter_of(config: TrainConfig) -> Segmenter:
    """The untrained model of an experiment."""
    settings = asdict(config)
    return Segmenter(
        network=config.network,
        loss=config.loss,
        preprocessing=network_input(settings),
        optimizer=weights_update(settings),
        scheduler=config.scheduler,
        threshold=config.threshold,
        seed=config.seed,
    )


def open_sides(config: TrainConfig) -> tuple[dict[str, list[StoredScan]], Split]:
    """The decoded patients of each side that has any; settings keep where the data really lies."""
    source = config.data.open()
    split = config.data.divided(source)
    sides = decoded_sides(config, source, split)
    config.data.root, config.data.store = str(source.root.resolve()), str(Path(config.data.store).resolve())
    return sides, split


def decoded_sides(config: TrainConfig, source: Source, split: Split) -> dict[str, list[StoredScan]]:
    """The patients of each side of a split that has any."""
    scans = open_patients(Path(config.data.store), source, split.patients)
    by_name = {scan.name: scan for scan in scans}
    return {side: [by_name[patient] for patient in split[side]] for side in SIDES if split[side]}
