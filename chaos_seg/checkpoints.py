"""Checkpoints: written atomically, read without running code, refused when they are not ours."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes
from chaos_seg.segmenter import Segmenter


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writer moves from the system's temporary folder, which is a copy, not a rename, across disks."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of this project, without running any code in it (weights_only).

    Raises:
        UserError: no such file, or not a checkpoint of a Segmenter.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected a checkpoint, found no such file; name one of a run's checkpoints/*.ckpt.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        found = set(checkpoint["hyper_parameters"])
        checkpoint["state_dict"]
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: expected a checkpoint of chaos_seg, found something else ({type(error).__name__}: {reason}); "
            "name one of a run's checkpoints/*.ckpt."
        ) from None
    if not {"model", "loss", "preprocessing", "threshold"} <= found:
        raise UserError(
            f"{path}: expected a checkpoint of chaos_seg, found one of another program; name one of a run's "
            "checkpoints/*.ckpt."
        )
    result: dict[str, Any] = checkpoint
    return result


def load_segmenter(path: Path) -> Segmenter:
    """The trained model in a checkpoint, ready to predict.

    Raises:
        UserError: see read_checkpoint; or weights that don't fit the network that the checkpoint names.
    """
    checkpoint = read_checkpoint(path)
    segmenter = Segmenter(**checkpoint["hyper_parameters"])
    try:
        segmenter.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise UserError(
            f"{path}: expected the weights of a U-Net with {checkpoint['hyper_parameters']['model']}, found others "
            f"({str(error).splitlines()[-1].strip()}); name another checkpoint."
        ) from None
    return segmenter.eval()
