"""The weights that training begins with, where they are another model's: what fits is taken, the rest is named."""

from pathlib import Path
from typing import Any

import torch

from chaos_seg.errors import UserError
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.checkpoints import model_hash, read_checkpoint
from chaos_seg.training.segmenter import Segmenter

LEAST = 0.5  # of the numbers in the network: a model from which fewer fit is of another network


def begin_with(segmenter: Segmenter, path: Path, freeze_encoder: bool) -> dict[str, Any]:
    """Give `segmenter` the weights of the model at `path` that have its names and shapes, and freeze its encoder on
    demand.

    Returns:
        What the manifest says of it: path, sha256, how many `numbers` of how many were taken, and `left`, the names of
        the others with the reason.

    Raises:
        UserError: no model of ours, one of another network, or a frozen encoder that is not wholly the model's.
    """
    checkpoint = read_checkpoint(path)
    own = {name: value for name, value in segmenter.state_dict().items() if name.startswith("net.")}
    given = {name: value for name, value in checkpoint["state_dict"].items() if name.startswith("net.")}
    fits = {name: value for name, value in given.items() if name in own and _shape(value) == _shape(own[name])}
    left = {name: _why(own.get(name), given.get(name)) for name in {**own, **given} if name not in fits}
    numbers, of = (sum(value.numel() for value in values.values()) for values in (fits, own))
    if numbers < LEAST * of:
        raise UserError(
            f"init={path}: expected weights of the network {dict(segmenter.hparams['network'])}, found those of "
            f"{checkpoint['hyper_parameters']['network']}, of which {numbers} of {of} numbers fit; leave network=... "
            "out to take the model's own."
        )
    segmenter.load_state_dict(fits, strict=False)
    if freeze_encoder:
        freeze(segmenter)
        if new := [name for name in left if name in own and name.startswith("net.encoder.")]:
            raise UserError(
                f"freeze_encoder=true: expected an encoder that is wholly the model's, found {new[0]} new "
                f"({left[new[0]]}); leave it out, or take the model's own network and preprocessing."
            )
    return {"path": str(path), "sha256": model_hash(path), "numbers": numbers, "of": of, "left": left}


def begun(
    segmenter: Segmenter, path: str | None, freeze_encoder: bool, resumed: RunFolder | None
) -> dict[str, Any] | None:
    """As begin_with(), where there is a model to begin with. A run that goes on has its weights in its own checkpoint,
    and needs that model no more.
    """
    if path is None:
        return None
    before = resumed.manifest().get("init") if resumed and resumed.checkpoint("last").exists() else None
    if before and before["path"] == path and not Path(path).exists():
        if freeze_encoder:
            freeze(segmenter)
        return dict(before)
    return begin_with(segmenter, Path(path), freeze_encoder)


def freeze(segmenter: Segmenter) -> None:
    """Leave the encoder of its network as it is while the rest learns, with the statistics of its normalisation.

    Raises:
        UserError: a network without a part of that name.
    """
    encoder = getattr(segmenter.net, "encoder", None)
    if not isinstance(encoder, torch.nn.Module):
        raise UserError(
            "freeze_encoder=true: expected a network with a part called encoder, found "
            f"{segmenter.hparams['network']['name']}; leave it out."
        )
    encoder.requires_grad_(False).eval()  # Lightning keeps the mode of each part


def told(facts: dict[str, Any]) -> str:
    """What begin_with() did, in a sentence."""
    left = [f"{name} ({why})" for name, why in facts["left"].items()]
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    rest = f"; not taken: {', '.join(left[:5])}{more}" if left else ""
    return f"Begun with {facts['path']} ({facts['sha256'][:12]}): {facts['numbers']} of {facts['of']} numbers{rest}"


def _shape(value: Any) -> list[int] | None:
    return list(value.shape) if isinstance(value, torch.Tensor) else None


def _why(own: torch.Tensor | None, given: Any) -> str:
    if given is None:
        return "not in the model"
    return "not in this network" if own is None else f"{_shape(given)} there, {_shape(own)} here"
