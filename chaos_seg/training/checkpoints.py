"""Checkpoints: written atomically, read without running code, refused when they are not ours."""

import hashlib
import inspect
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes
from chaos_seg.networks.model import Model
from chaos_seg.training.shared import CHOSEN, is_shared, read_shared_checkpoint

FORMAT = 2  # raise when the values of a checkpoint change their meaning, and mend older ones here


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_bytes(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of this project, without running any code in it (weights_only); of a shared folder
    or its zip what prediction needs.

    Raises:
        UserError: no such file, not a checkpoint of a Model, or one of a newer version.
    """
    shared = is_shared(path)
    if not shared and not path.is_file():
        raise UserError(
            f"{path}: expected a checkpoint, found no such file; name one of a run's checkpoints/*.ckpt or a folder "
            "of chaos_seg.share."
        )
    try:
        checkpoint: dict[str, Any] = (
            read_shared_checkpoint(path) if shared else torch.load(path, map_location="cpu", weights_only=True)
        )
        version = int(checkpoint.get("format", 1))
        given, _, _ = dict(checkpoint["hyper_parameters"]), checkpoint["state_dict"], checkpoint["epoch"]
    except UserError:
        raise
    except Exception as error:
        raise UserError(  # torch's own words advise to run whatever code is in the file
            f"{path}: expected a checkpoint of chaos_seg, found something else ({type(error).__name__}); name one of a "
            "run's checkpoints/*.ckpt."
        ) from None
    if version > FORMAT:
        raise UserError(
            f"{path}: expected a checkpoint of format {FORMAT} or older, found format {version}; it was made by a "
            "newer chaos_seg: update this one."
        )
    settings = _from_format_1(given) if version == 1 and "model" in given else given
    takes = inspect.signature(Model).parameters
    needs = {name for name, parameter in takes.items() if parameter.default is parameter.empty}
    if not needs <= settings.keys() <= takes.keys():
        raise UserError(
            f"{path}: expected a checkpoint of chaos_seg, found one of another program; name one of a run's "
            "checkpoints/*.ckpt."
        )
    checkpoint["hyper_parameters"] = settings
    return checkpoint


def model_hash(path: Path) -> str:
    """SHA-256 of a checkpoint, by which manifests and masks name the model, also once it is shared."""
    if is_shared(path):
        return str(read_shared_checkpoint(path)["sha256"])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keep_chosen(path: Path, summary: Mapping[str, Any]) -> None:
    """Write what was CHOSEN on validation patients into a model's checkpoint, beside weights that stay as they are."""
    chosen = {key: summary[key] for key in CHOSEN}
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if any(checkpoint.get(key) != value for key, value in chosen.items()):
        write_checkpoint({**checkpoint, **chosen}, path)


def _from_format_1(given: dict[str, Any]) -> dict[str, Any]:
    """Before there were slots, when all was the study's U-Net with Adam."""
    rest = {key: value for key, value in given.items() if key not in ("model", "learning_rate", "preprocessing")}
    return {
        **rest,
        "network": {"name": "unet", **given.get("model", {})},
        "preprocessing": {"name": "window", **given.get("preprocessing", {})},
        "optimizer": {"name": "adam", "learning_rate": given.get("learning_rate")},
    }


def load_model(path: Path) -> tuple[Model, int]:
    """The trained model in a checkpoint, ready to predict, and the epoch that it is from.

    Raises:
        UserError: see read_checkpoint; a name that no slot has here, or weights that don't fit the network.
    """
    checkpoint = read_checkpoint(path)
    try:
        model = Model(**checkpoint["hyper_parameters"])
    except UserError as error:
        raise UserError(f"{path}: {error} Install what it was trained with, or name another checkpoint.") from None
    weights = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith("loss.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path}: expected the weights of the network {checkpoint['hyper_parameters']['network']}, found others "
            f"({str(error).splitlines()[-1].strip()}); name another checkpoint."
        ) from None
    model.training_range, model.temperature = checkpoint.get("training_range"), checkpoint.get("temperature")
    model.largest_component = bool(checkpoint.get("largest_component"))
    return model.eval(), checkpoint["epoch"]
