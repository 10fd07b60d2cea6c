"""Runs opened again: gone on with, scored once more, or asked for their model."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from chaos_seg.config import TrainConfig, checked
from chaos_seg.data.store import StoredScan, data_hash
from chaos_seg.errors import UserError
from chaos_seg.experiment import completed, decoded_sides, open_sides, train
from chaos_seg.files import locked
from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import complete_settings, flat, free_to_resume, is_incidental, literal
from chaos_seg.training.checkpoints import model_hash, read_checkpoint

log = logging.getLogger(__name__)


def run_once(config: TrainConfig, folder: Path) -> None:
    """Train in `folder` unless it holds that very run already; an interrupted one goes on.

    Raises:
        UserError: the folder holds a run with other settings or on other data, or whatever train raises.
    """
    run = RunFolder(folder)
    if run.status != "finished":
        if run.exists:
            config.ckpt_path = str(run.checkpoint("last"))
        train(config, folder)
        return
    config = completed(config)
    sides, _ = open_sides(config)
    run.expect_same(
        {**flat(asdict(config)), "init": model_hash(Path(config.init)) if config.init else None},
        data_hash(scan for scans in sides.values() for scan in scans),
        free_to_resume(asdict(config)),
    )
    if (epochs := run.settings()["epochs"]) != config.epochs:
        raise UserError(
            f"{folder}: the run is finished with {epochs} epochs, this command asks for {config.epochs}; leave that "
            "out, or give the study another name=..."
        )


def keeping_the_models(config: TrainConfig, typed: Sequence[str]) -> TrainConfig:
    """`config` with the network and the preprocessing of the model in config.init, but for what `typed` sets.

    Args:
        typed: settings as on the command line, "network.base=16"; what an experiment's file sets is not among them.

    Raises:
        UserError: no model of ours.
    """
    if config.init is None:
        return config
    keys = [one.get_key_element().lstrip("+") for one in OverridesParser.create().parse_overrides(list(typed))]
    made = read_checkpoint(Path(config.init))["hyper_parameters"]
    changed: dict[str, Any] = {
        slot: {**made[slot], **{key: value for key, value in getattr(config, slot).items() if f"{slot}.{key}" in keys}}
        for slot in ("network", "preprocessing")
        if slot not in keys
    }
    size = made["preprocessing"]["image_size"] if "image_size" not in keys else config.image_size
    changed.get("preprocessing", {}).pop("image_size", None)
    kept = ", ".join([*(f"{slot} {made[slot]['name']}" for slot in changed), f"image_size={size}"])
    log.info("Of the model in init: %s; network=..., preprocessing=... and image_size=... change that.", kept)
    return replace(config, image_size=size, **changed)


def stopped_before(config: TrainConfig, folder: Path) -> Path | None:
    """The newest run beside `folder` with the same settings that was stopped and can go on; None without any."""
    wanted = flat(asdict(completed(config)))
    for path in sorted(folder.parent.glob("*/config.yaml"), reverse=True):
        run = RunFolder(path.parent)
        if run.path == folder or run.status not in ("running", "failed") or not run.checkpoint("last").exists():
            continue
        try:
            saved = flat(complete_settings(run.settings()))
            with locked(run.path / ".lock", "in use"):
                pass
        except Exception:  # it works on, or is damaged: what is only said stops no other run
            continue
        if all(saved.get(key) == value or is_incidental(key) for key, value in wanted.items()):
            return run.path
    return None


def open_run(
    run: RunFolder, root: str | None, store: str | None
) -> tuple[TrainConfig, dict[str, list[StoredScan]], str]:
    """The settings of a run and the patients of each of its sides, from another place of the data where one is given;
    and the hash of what they are now.

    Raises:
        UserError: not the folder of a run, or anything wrong with the data.
    """
    trained = settings_of(run, root, store)
    sides = decoded_sides(trained, trained.data.open(), run.split())
    return trained, sides, data_hash(scan for scans in sides.values() for scan in scans)


def settings_of(run: RunFolder, root: str | None, store: str | None) -> TrainConfig:
    """The settings of a run, with another place of the data where one is given.

    Raises:
        UserError: not the folder of a run.
    """
    run.expect(run.config, run.split_file, run.manifest_file)
    trained = checked(TrainConfig, OmegaConf.create(literal(run.settings())))
    trained.data.store = str(store or trained.data.store)
    if root is not None:
        if trained.data.synthetic:
            trained.data.source = {"name": "chaos"}
        trained.data.root = root
    return trained
