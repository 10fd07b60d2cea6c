"""The proof that a shared model gives here the mask that it gave there: a synthetic slice and its expected mask."""

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes
from chaos_seg.inference.prediction import predict_scan
from chaos_seg.inference.predictor import Predictor
from chaos_seg.networks.model import Model
from chaos_seg.training.checkpoints import load_model
from chaos_seg.training.shared import is_shared, read_shared

SLICE, MASK = "check/slice.dcm", "check/mask.png"
PHANTOM = Phantom(patients=1, slices=6, size=256, seed=0)
# Share of a mask that may differ: 6 pixels. In a trained model TF32 changed none, and a window 2 HU beside its own 24.
DIFFERENT_PIXELS = 1e-4


def write_check(folder: Path, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Write the slice of a phantom in which the model finds most liver, as DICOM, and the mask that it gives of it;
    returns both, int16 HU and bool (rows, columns).
    """
    with tempfile.TemporaryDirectory() as place:
        root = write_phantom(Path(place), PHANTOM)
        most = int(_predicted(root, model, torch.device("cpu"))[1].sum(axis=(1, 2)).argmax())
        chosen = sorted(root.rglob("*.dcm"))[most]
        (folder / SLICE).parent.mkdir(parents=True)
        shutil.copyfile(chosen, folder / SLICE)
    scan, mask = _predicted((folder / SLICE).parent, model, torch.device("cpu"))
    picture = io.BytesIO()
    Image.fromarray(mask[0].astype(np.uint8) * 255).save(picture, "png")
    write_bytes(folder / MASK, picture.getvalue())
    return scan.hu(0), mask[0]


def prove(path: Path, device: torch.device) -> str:
    """Predict the slice of a shared model as `predict` does; returns what was found, in a sentence.

    Raises:
        UserError: no shared model, a damaged one, or another mask than the expected.
    """
    if not is_shared(path):
        raise UserError(f"{path}: expected a folder of chaos_seg.share or its zip to check; name one with ckpt=.")
    files, (model, _) = read_shared(path), load_model(path)
    if missing := [name for name in (SLICE, MASK) if name not in files]:
        raise UserError(f"{path}: expected {missing[0]} to check the model with, found none; copy the model again.")
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "slice.dcm").write_bytes(files[SLICE])
        mask = _predicted(Path(place), model, device)[1][0]
    with Image.open(io.BytesIO(files[MASK])) as picture:
        expected = np.asarray(picture) > 0
    different = np.count_nonzero(mask != expected) if mask.shape == expected.shape else mask.size
    if different > DIFFERENT_PIXELS * mask.size:
        raise UserError(
            f"{path}: expected the mask of check/mask.png, found another: {different} of {mask.size} pixels differ; "
            "the model does not work here as where it was made: tell its author the versions of torch and chaos_seg."
        )
    return (
        f"{path}: {len(files)} files as they were handed on; {mask.size - different} of {mask.size} pixels of the "
        f"synthetic slice as expected, {np.count_nonzero(expected)} of them liver"
    )


def _predicted(folder: Path, model: Model, device: torch.device) -> tuple[Scan, np.ndarray]:
    """The one scan below `folder`, and its mask, bool (slices, rows, columns)."""
    (found,) = find_scans(folder).scans
    scan, predictor = found.open(), Predictor([model], device)
    mask = predict_scan(scan, predictor, model.threshold, largest_component=False, fill_holes=False).mask
    return scan, np.stack(list(mask))
