"""The Python interface: arrays in, arrays and numbers out, with the same parts as the commands."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chaos_seg.data.appearance import unlike_training
from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.scan import Scan
from chaos_seg.evaluation import counts
from chaos_seg.evaluation.chaos_metrics import chaos_scores
from chaos_seg.evaluation.distances import border_distances
from chaos_seg.evaluation.masks import check_masks
from chaos_seg.evaluation.metrics import Case, metrics_of
from chaos_seg.evaluation.scores import SURFACE_TOLERANCE_MM
from chaos_seg.evaluation.surface import hd95_and_surface_dice
from chaos_seg.inference.choices import chosen_device
from chaos_seg.inference.prediction import predict_scan
from chaos_seg.inference.predictor import Predictor
from chaos_seg.networks.model import Model
from chaos_seg.scoring.scan import score_scan
from chaos_seg.training.checkpoints import load_model

if TYPE_CHECKING:
    from chaos_seg.training.segmenter import Segmenter

WINDOW = {"name": "window", "level_hu": 40.0, "width_hu": 400.0}


def _expect_mask(scan: Scan) -> None:
    if scan.read_mask is None:
        raise ValueError(f"{scan.name}: expected a scan with a mask, found none")


def load(checkpoint: str | Path) -> Model:
    """The trained model in a checkpoint, a shared folder or its zip, without running code in it.

    Raises:
        UserError: anything else, or a shared folder that is not as it was handed on.
    """
    return load_model(Path(checkpoint))[0]


def as_scan(
    hu: np.ndarray,
    mask: np.ndarray | None = None,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    name: str = "scan",
) -> Scan:
    """Arrays as a scan.

    Args:
        hu: int16 HU (slices, rows, columns), axial: rows to the back, columns to the left of the patient.
        mask: liver where it is not 0, the same shape.
        spacing_mm: between slices, rows and columns.

    Raises:
        ValueError: arrays of other shapes, no numbers or too large ones, or no three distances above 0.
    """
    if hu.ndim != 3 or (mask is not None and mask.shape != hu.shape):
        raise ValueError(f"expected HU (slices, rows, columns) and a mask like it, found {hu.shape} and {mask!r:.60}")
    if hu.size == 0 or not (hu.min() >= -32768 and hu.max() <= 32767):  # NaN is refused too
        raise ValueError("expected slices of HU that fit into 16 bits, found none, larger ones or NaN")
    if len(spacing_mm) != 3 or not min(spacing_mm) > 0:
        raise ValueError(f"expected spacing_mm between slices, rows and columns, three above 0, found {spacing_mm}")
    hu, (z, y, x) = np.rint(hu).astype(np.int16), spacing_mm
    liver = None if mask is None else (np.asarray(mask) != 0).astype(np.uint8)
    return Scan(
        name=name,
        files=(),
        shape=(hu.shape[0], hu.shape[1], hu.shape[2]),
        origin_mm=np.outer(np.arange(len(hu)), (0.0, 0.0, z)),
        row_mm=np.array([0.0, y, 0.0]),
        column_mm=np.array([x, 0.0, 0.0]),
        read=hu.__getitem__,
        thickness_mm=float(z),
        read_mask=None if liver is None else liver.__getitem__,
        liver_pixels=None if liver is None else tuple(liver.sum(axis=(1, 2)).tolist()),
    )


def segment(
    hu: np.ndarray,
    model: Model,
    threshold: float | None = None,
    device: str = "auto",
    spacing_mm: Sequence[float] | None = None,
) -> np.ndarray:
    """The mask of a scan, bool (slices, rows, columns): liver where 255 * probability is above `threshold`, by default
    the model's own; its largest part alone when the model's validation patients spoke for it. What the command says of
    a scan that is unlike the training data, or of a second large part, is a UserWarning here.

    Args:
        hu: int16 HU (slices, rows, columns), axial: rows to the back, columns to the left of the patient.
        threshold: from 0 to 255, as in the settings: 127.5 is a probability of one half.
        device: auto is a GPU when there is one; cpu, cuda, cuda:1. The model is moved there.
        spacing_mm: between slices, rows and columns; for a model that sees several slices, or keeps the largest part.

    Raises:
        ValueError: HU of another shape or that are no numbers, a threshold that is none, or no spacing for a model that
            needs it.
        UserError: a blank slice within the scan.
    """
    if hu.ndim != 3 or hu.size == 0:
        raise ValueError(f"expected HU (slices, rows, columns), found {hu.shape}")
    threshold = model.threshold if threshold is None else threshold
    if not 1 <= threshold < 255:
        raise ValueError(f"expected a threshold from 1 to below 255, found {threshold}; 127.5 is a probability of 0.5")
    if spacing_mm is None and (model.preprocessing.channels > 1 or model.largest_component):
        raise ValueError(
            "expected spacing_mm for a model that sees several slices or keeps the largest part, found none"
        )
    scan = as_scan(hu, spacing_mm=(1.0, 1.0, 1.0) if spacing_mm is None else spacing_mm)
    predictor = Predictor([model], chosen_device(device))
    found = predict_scan(scan, predictor, threshold, model.largest_component, fill_holes=False)
    seen = found.appearance
    if spacing_mm is None:
        seen = replace(seen, spacing_mm=(math.nan,) * 3, field_mm=())
    for told in (*unlike_training(seen, predictor.trained_on[0]), *found.doubts):
        warnings.warn(told, stacklevel=2)
    return np.stack(found.mask)


def score(predicted: np.ndarray, true: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float]:
    """Every metric of a mask, the challenge's RAVD, ASSD, MSSD and score, HD95 in mm and surface Dice at 3 mm; NaN
    where one has no value.

    Args:
        predicted, true: bool or integer (slices, rows, columns); any nonzero is liver.
        spacing_mm: between slices, rows and columns.

    Raises:
        ValueError: shapes differ or have not three axes, or masks of floating point.
    """
    check_masks(predicted, true)
    predicted, true = predicted != 0, true != 0
    z, y, x = map(float, spacing_mm)
    counted = np.array([counts.count(p, t) for p, t in zip(predicted, true, strict=True)])
    (borders,) = border_distances([predicted], true, (z, y, x))
    challenge = chaos_scores(predicted, true, (z, y, x), borders.mm(ends=False))
    case = Case(counted, list(predicted), list(true), (z, y, x))
    rest = {key: value for key, value in asdict(challenge).items() if key != "dice"}
    monais = borders.mm(ends=True)
    hd95_mm, surface_dice = hd95_and_surface_dice(predicted, true, (z, y, x), SURFACE_TOLERANCE_MM, monais)
    values = {**metrics_of(case), **rest, "score": challenge.score}
    return {**values, "hd95_mm": hd95_mm, "surface_dice": surface_dice}


def fit(
    scans: Sequence[Scan],
    validation: Sequence[Scan],
    epochs: int,
    learning_rate: float = 1e-3,
    image_size: int = 256,
    batch_size: int = 8,
    loss: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
    scheduler: Mapping[str, Any] | None = None,
    augmentation: Mapping[str, Any] | None = None,
    seed: int = 0,
    **trainer: Any,
) -> "Segmenter":
    """A model trained on scans with masks, with the weights of its last epoch.

    Args:
        loss, network, preprocessing, optimizer, scheduler: `name` and options of an entry of that slot (registry.py).
            By default Dice, the study's U-Net, the window of -160 to 240 HU, Adam and a constant rate: not the study's
            own settings, which are those of the commands.
        augmentation: steps with their options, {"rotation": {"degrees": 5}}.
        trainer: further options of lightning.Trainer, such as accelerator="gpu".

    Raises:
        UserError: a name or option that its slot does not have, or sizes that don't fit.
    """
    import lightning as L  # takes seconds, which load() and segment() do not wait for

    from chaos_seg.data.datamodule import ChaosDataModule
    from chaos_seg.training.fit import training_range
    from chaos_seg.training.segmenter import Segmenter

    for one in (*scans, *validation):
        _expect_mask(one)
    if not scans or not validation:
        raise ValueError("expected scans to train on and to validate, found none")
    segmenter = Segmenter(
        network=dict(network or {"name": "unet"}),
        loss=dict(loss or {"name": "dice"}),
        preprocessing={**(preprocessing or WINDOW), "image_size": image_size},
        optimizer={**(optimizer or {"name": "adam"}), "learning_rate": learning_rate},
        scheduler=dict(scheduler or {"name": "constant"}),
        seed=seed,
    )
    segmenter.training_range = training_range(scans)
    sides, steps = {"train": scans, "val": validation}, Augmentation(augmentation or {})
    data = ChaosDataModule(sides, segmenter.preprocessing, steps, batch_size, seed=seed)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    L.Trainer(max_epochs=epochs, **{**quiet, **trainer}).fit(segmenter, datamodule=data)
    return segmenter.eval()


def score_scans(model: Model, scans: Sequence[Scan], device: str = "auto") -> dict[str, dict[str, float]]:
    """Every metric of each scan with a mask, by its name. Raises ValueError for a name that comes twice."""
    for one in scans:
        _expect_mask(one)
    if len({one.name for one in scans}) < len(scans):
        raise ValueError("expected a name of its own for each scan")
    predictor = Predictor([model], chosen_device(device))
    return {one.name: dict(score_scan(one, "", predictor, model.threshold).score.values) for one in scans}
