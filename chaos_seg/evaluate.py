"""Score a model on whole patients at the masks' own resolution: tables, predicted masks and figures.

python -m chaos_seg.evaluate run=outputs/paper/<run>
"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("evaluate")  # before the imports that take seconds

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torch.utils.data import DataLoader
from tqdm import tqdm

from chaos_seg.command_line import hydra_command
from chaos_seg.config import EvaluateConfig, TrainConfig, TrainerConfig, checked
from chaos_seg.data.datamodule import worker_count
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.splits import SIDES, Split
from chaos_seg.data.store import Volume, fingerprint, open_patients
from chaos_seg.data.transforms import resize_image
from chaos_seg.errors import UserError
from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.calibration import LEVELS, count_levels
from chaos_seg.evaluation.masks import far_errors
from chaos_seg.evaluation.scores import (
    ChallengeScore,
    PatientScore,
    as_rows,
    averages,
    challenge_averages,
    challenge_scores,
    patient_score,
)
from chaos_seg.evaluation.surface import monai_version
from chaos_seg.files import read_csv, read_json, write_csv, write_json
from chaos_seg.reporting.comparison import run_tables
from chaos_seg.reporting.curves import draw_curves
from chaos_seg.reporting.overlays import draw_slice
from chaos_seg.training.callbacks import ProgressBar
from chaos_seg.training.checkpoints import load_segmenter
from chaos_seg.training.segmenter import Segmenter

log = logging.getLogger(__name__)

FAR_MM = 5.0  # from the true outline: further is not a matter of where exactly it was drawn


class MaskWriter(BasePredictionWriter):
    """Brings probabilities to the slice's own size, thresholds them, saves the mask as PNG and counts it.

    <folder>/<patient>/img000.png, ...: 8-bit, 255 where 255 * probability is above the threshold, in file-name order.
    `counts` (slices, 4) are counts.FIELDS, `far` (slices, 2) far_errors(), `levels` (patients, 2, 256) count_levels().
    """

    def __init__(self, dataset: SliceDataset, folder: Path, threshold: float):
        super().__init__(write_interval="batch")
        self.dataset, self.folder, self.threshold = dataset, folder, threshold
        self.counts = np.zeros((len(dataset), 4), dtype=np.int64)
        self.far = np.zeros((len(dataset), 2), dtype=np.int64)
        self.levels = np.zeros((len(dataset.volumes), 2, LEVELS), dtype=np.int64)
        for volume in dataset.volumes:
            (folder / volume.patient).mkdir(parents=True)

    def write_on_batch_end(
        self, trainer: Any, pl_module: Any, prediction: torch.Tensor, indices: Any, batch: Any, *rest: Any
    ) -> None:
        for index, probability in zip(batch["index"].tolist(), prediction[:, 0].cpu().numpy(), strict=True):
            number, rank = self.dataset.volume_of_slice[index], int(self.dataset.rank_of_slice[index])
            volume = self.dataset.volumes[number]
            probability, true = resize_image(probability, volume.meta.shape[1:]), volume.mask(rank) > 0
            predicted = probability * 255 > self.threshold
            self.counts[index] = score.count(predicted, true)
            self.far[index] = far_errors(predicted, true, volume.meta.spacing_mm[1:], FAR_MM)
            self.levels[number] += count_levels(probability, true)
            png = Image.fromarray(predicted.astype(np.uint8) * 255)
            png.save(self.folder / volume.patient / f"img{rank:03d}.png")


def evaluate(
    segmenter: Segmenter,
    sides: Mapping[str, Sequence[Volume]],
    folder: Path,
    threshold: float,
    batch_size: int,
    num_workers: int,
    trainer: TrainerConfig,
) -> tuple[list[PatientScore], list[ChallengeScore]]:
    """Predict every slice of the patients of each side and score them.

    Writes into `folder`: predictions/, per_slice.csv, per_patient.csv, challenge.csv and calibration.csv.
    """
    volumes = [volume for side in sides.values() for volume in side]
    size, level, width = (segmenter.preprocessing[key] for key in ("image_size", "level_hu", "width_hu"))
    dataset = SliceDataset(volumes, size, level, width)
    partial, predictions = folder / ".predictions.partial", folder / "predictions"
    shutil.rmtree(partial, ignore_errors=True)
    writer = MaskWriter(dataset, partial, threshold)
    loader = DataLoader(dataset, batch_size, num_workers=num_workers)
    # On one device, the first that trained: several would see some slices twice.
    one_device = trainer.build(
        folder, devices=trainer.first_device(), strategy="auto", callbacks=[writer, ProgressBar()], logger=False
    )
    one_device.predict(segmenter, loader, return_predictions=False)
    shutil.rmtree(predictions, ignore_errors=True)
    partial.rename(predictions)

    side_of = {volume.patient: side for side, members in sides.items() for volume in members}
    scores = [
        patient_score(volume.patient, side_of[volume.patient], writer.counts[dataset.volume_of_slice == number])
        for number, volume in enumerate(volumes)
    ]
    slices = [
        {
            "patient": volumes[number].patient,
            "rank": rank,
            "z_mm": volumes[number].meta.z_mm[rank],
            **dict(zip(score.FIELDS, counts.tolist(), strict=True)),
            **dict(zip(("fp_far", "fn_far"), far.tolist(), strict=True)),
        }
        for number, rank, counts, far in zip(
            dataset.volume_of_slice, dataset.rank_of_slice, writer.counts, writer.far, strict=True
        )
    ]
    write_csv(folder / "per_slice.csv", slices)
    synthetic = any(volume.meta.synthetic for volume in volumes)
    write_csv(folder / "per_patient.csv", as_rows(scores, synthetic))
    challenge = [
        row
        for volume in tqdm(volumes, "Measuring patients", disable=None)
        for row in _challenge_scores(volume, side_of[volume.patient], predictions)
    ]
    levels = [
        {"patient": volume.patient, "level": level, "other": int(counts[0, level]), "liver": int(counts[1, level])}
        for volume, counts in zip(volumes, writer.levels, strict=True)
        for level in range(LEVELS)
    ]
    write_csv(folder / "calibration.csv", levels)
    write_csv(folder / "challenge.csv", [{**asdict(row), "synthetic": synthetic} for row in challenge])
    return scores, challenge


def _challenge_scores(volume: Volume, side: str, predictions: Path) -> list[ChallengeScore]:
    predicted, reference = np.zeros((2, *volume.meta.shape), bool)
    for rank in range(volume.slices):
        with Image.open(predictions / volume.patient / f"img{rank:03d}.png") as image:
            predicted[rank] = np.asarray(image) > 0
        reference[rank] = volume.mask(rank) > 0
    z_mm, *in_plane_mm = volume.meta.spacing_mm
    spacing_mm = (z_mm or 1.0, *in_plane_mm)  # one slice: no z
    return challenge_scores(volume.patient, side, predicted, reference, spacing_mm, monai_version() is not None)


def evaluate_run(
    run: Path,
    checkpoint: Path,
    sides: Mapping[str, Sequence[Volume]],
    output: Path,
    threshold: float | None,
    batch_size: int,
    num_workers: int,
    trainer: TrainerConfig,
) -> dict[str, Any]:
    """Score one checkpoint of a run and write all that a reader wants to `output`; returns summary.json's content."""
    segmenter, epoch = load_segmenter(checkpoint)
    threshold = float(segmenter.hparams["threshold"]) if threshold is None else threshold
    scores, challenge = evaluate(segmenter, sides, output, threshold, batch_size, num_workers, trainer)
    volumes = [volume for side in sides.values() for volume in side]
    synthetic = any(volume.meta.synthetic for volume in volumes)
    loss = segmenter.hparams["loss"]["name"]
    title = f"{loss} loss" + (", SYNTHETIC phantom" if synthetic else "")
    draw_curves(run / "metrics.csv", output / "figures", title)
    side = next(side for side in ("test", "val") if side in sides)
    members = {volume.patient: volume for volume in sides[side]}
    examples = example_slices([row for row in read_csv(output / "per_slice.csv") if row["patient"] in members])
    slices = {
        kind: _draw_example(kind, row, members[row["patient"]], side, output, title) for kind, row in examples.items()
    }
    summary = {
        "loss": loss,
        "checkpoint": checkpoint.name,
        "epoch": epoch,
        "threshold": threshold,
        "synthetic": synthetic,
        "data_fingerprint": fingerprint(volumes),
        "patients": len(scores),
        "averages": averages(scores),
        "challenge": challenge_averages(challenge),
        "far_mm": FAR_MM,
        "monai": monai_version(),
        "slices": slices,
    }
    write_json(output / "summary.json", summary)
    log.info("\n%s\n", run_tables(loss, scores, challenge, synthetic))
    log.info("Run folder: %s", output)
    return summary


def example_slices(slices: Sequence[Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """The best, the median and the worst by Dice of the rows of per_slice.csv that have liver, if there are any.

    Of several as good, that with most liver.
    """
    counts = np.array([[int(row[field]) for field in score.FIELDS] for row in slices]).reshape(-1, 4)
    liver, dice = counts[:, 0] + counts[:, 2], score.dice(counts)
    order = sorted(np.flatnonzero(liver).tolist(), key=lambda k: (dice[k], liver[k]))
    if not order:
        return {}
    worst = min(order, key=lambda k: (dice[k], -liver[k]))
    return {"best": slices[order[-1]], "median": slices[order[len(order) // 2]], "worst": slices[worst]}


def _draw_example(
    kind: str, row: Mapping[str, str], volume: Volume, side: str, output: Path, title: str
) -> dict[str, Any]:
    """Draw figures/slice_<kind>.png; returns which slice it is."""
    rank = int(row["rank"])
    with Image.open(output / "predictions" / volume.patient / f"img{rank:03d}.png") as image:
        predicted = np.asarray(image) > 0
    dice = float(score.dice(np.array([int(row[field]) for field in score.FIELDS])))
    place = f"Patient {volume.patient} ({side}), slice {rank + 1} of {volume.slices}"
    text = f"{title}: {kind} slice\n{place}: Dice {dice:.3f}"
    draw_slice(volume.hu(rank), volume.mask(rank) > 0, predicted, text, output / "figures" / f"slice_{kind}.png")
    return {"patient": volume.patient, "side": side, "slice": rank + 1, "slices": volume.slices, "dice": dice}


def trained_config(run: Path, root: str | None, store: str | None) -> TrainConfig:
    """The settings of the run in the folder `run`, with another place of the data where one is given.

    Raises:
        UserError: not the folder of a run.
    """
    missing = [name for name in ("config.yaml", "split.json", "manifest.json") if not (run / name).is_file()]
    if missing:
        raise UserError(f"{run}: expected the folder of a run, found no {', '.join(missing)} in it; name a run.")
    trained = checked(TrainConfig, OmegaConf.load(run / "config.yaml"))
    trained.data.store = str(store or trained.data.store)
    if root is not None:
        trained.data.root, trained.data.phantom = root, None
    return trained


@hydra_command("evaluate")
def main(cfg: DictConfig) -> None:
    config = checked(EvaluateConfig, cfg)
    run = Path(config.run)
    trained = trained_config(run, config.root, config.store)
    split = Split(**{side: tuple(patients) for side, patients in read_json(run / "split.json").items()})
    volumes = {v.patient: v for v in open_patients(Path(trained.data.store), trained.data.tree(), split.patients)}
    manifest, found = read_json(run / "manifest.json"), fingerprint(volumes.values())
    other = {
        f"data with fingerprint {found[:12]}": found != manifest["data"]["fingerprint"],
        f"threshold={config.threshold}": config.threshold is not None,
        f"checkpoint={config.checkpoint}": config.checkpoint != "best",
        f"a run that is {manifest['status']}": manifest["status"] == "running",
    }
    if config.output is None and any(other.values()):
        raise UserError(
            f"{run}: its own tables are those of its best checkpoint, its threshold and its data; name another folder "
            f"for the scores of {', '.join(what for what, differs in other.items() if differs)} with output=FOLDER."
        )
    evaluate_run(
        run,
        run / "checkpoints" / f"{config.checkpoint}.ckpt",
        {side: [volumes[patient] for patient in split[side]] for side in SIDES if split[side]},
        Path(config.output) if config.output else run,
        config.threshold,
        trained.batch_size,
        worker_count(trained.num_workers, config.trainer.accelerator),
        config.trainer,
    )


if __name__ == "__main__":
    main()
