"""From CT scans to masks that other tools open: DICOM folders, CHAOS trees and NIfTI in; PNG, NIfTI and DICOM-SEG out.

python -m chaos_seg.predict ckpt=outputs/paper/<run>/checkpoints/best.ckpt input=FOLDER output=FOLDER
"""

import fcntl
import hashlib
import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from chaos_seg.checkpoints import load_segmenter
from chaos_seg.config import CONF_DIR, PredictConfig, checked, plain_errors
from chaos_seg.data.scans import Axial, FoundScan, Scan, find_scans
from chaos_seg.errors import UserError, unusable_file
from chaos_seg.evaluation.alarms import (
    Fingerprint,
    SliceAlarm,
    TrainingRange,
    disagreement,
    scan_alarms,
    slice_alarms,
    unlike_training,
)
from chaos_seg.evaluation.masks import fill_holes, largest_component
from chaos_seg.files import read_json, write_bytes, write_json
from chaos_seg.formats.dicom_seg import write_dicom_seg
from chaos_seg.formats.nifti import write_nifti
from chaos_seg.formats.png import write_png
from chaos_seg.prediction import PackedMask, Predictor, chosen_device
from chaos_seg.reporting.qc_page import qc_page, scan_section

log = logging.getLogger(__name__)
logging.getLogger("highdicom").setLevel(logging.ERROR)  # it tells every module that it copies


@dataclass(frozen=True)
class Prediction:
    """A scan's mask in its own axes, how much several passes disagree on each slice, and seconds by part."""

    mask: PackedMask
    disagreement: np.ndarray | None  # (slices,); None of a single pass, or where the scan's slices are not axial
    seconds: dict[str, float]


def predict_scan(scan: Scan, predictor: Predictor, threshold: float, largest: bool, holes: bool) -> Prediction:
    """Liver where 255 * probability is above `threshold`, its largest part alone and its holes filled on demand."""
    axial, seconds, disagreements = Axial.of(scan), {"read": 0.0, "network": 0.0}, []

    def planes() -> Iterator[np.ndarray]:
        for passes in predictor.passes(_timed(axial.slices(scan), seconds)):
            if len(passes) > 1:
                disagreements.append(disagreement(passes * 255 > threshold))
            yield passes.mean(axis=0) * 255 > threshold

    started = time.perf_counter()
    mask = PackedMask(planes())
    seconds["network"] = time.perf_counter() - started - seconds["read"]
    told = np.array(disagreements) if disagreements and axial.streams else None
    if axial.streams and not largest and not holes:
        return Prediction(PackedMask(axial.plane_back(plane) for plane in mask), told, seconds)
    volume = axial.back(np.stack(mask))
    if largest:
        volume = largest_component(volume)
    if holes:
        volume = fill_holes(volume)
    return Prediction(PackedMask(volume), told, seconds)


def alarms_of(
    scan: Scan, found: Prediction, training: Sequence[TrainingRange | None]
) -> tuple[list[str], list[SliceAlarm]]:
    """What is suspicious in a scan as a whole, and its suspicious slices, worst first."""
    mask = np.stack(found.mask)
    spacing_mm = (scan.step_mm if scan.shape[0] > 1 else math.nan, *scan.spacing_mm[1:])
    fingerprint = Fingerprint.sampled(scan.hu, scan.shape[0], spacing_mm)
    unlike = dict.fromkeys(one for known in training for one in unlike_training(fingerprint, known))
    findings = [*unlike, *scan_alarms(mask, scan.hu, spacing_mm)]
    return findings, slice_alarms(mask, scan.hu, spacing_mm, found.disagreement)


def _timed(slices: Iterator[np.ndarray], seconds: dict[str, float]) -> Iterator[np.ndarray]:
    while True:
        started = time.perf_counter()
        plane = next(slices, None)
        seconds["read"] += time.perf_counter() - started
        if plane is None:
            return
        yield plane


def write_masks(mask: PackedMask, scan: Scan, formats: Sequence[str], folder: Path) -> list[str]:
    """The mask of a scan in each of `formats` below `folder`; returns what to know of them."""
    told = []
    for name in formats:
        if name == "png":
            write_png(mask, folder / "png")
        elif name == "challenge":
            write_png(mask, folder / "Results")
        elif name == "nifti":
            write_nifti(mask, scan, folder / "liver.nii.gz")
        elif not scan.is_dicom:
            told.append("no DICOM-SEG: the scan is not DICOM")
        elif not mask.pixels().any():
            told.append("no DICOM-SEG: it can not hold an empty mask")
        else:
            write_dicom_seg(mask, scan, folder / "liver.dcm")
    return told


def predict(
    scans: Sequence[FoundScan], predictor: Predictor, config: PredictConfig, settings: Mapping[str, Any]
) -> list[str]:
    """Predict each scan into a folder of its own; returns the names of those that failed.

    A folder appears when it is complete. One that is there, of the same scan, models and settings, is kept.
    """
    output, failed = Path(config.output), []
    for found in tqdm(scans, "Scans", disable=None):
        folder, partial = output / found.name, output / f".{found.name}.partial"
        try:
            if _is_done(folder, {"scan": found.identity, **settings}):
                log.info("%s: done before", found.name)
                continue
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            said = predict_one(found, predictor, config, settings, partial)
            partial.rename(folder)
            log.info("%s: %s", found.name, said)
        except (UserError, OSError) as error:
            shown = error if isinstance(error, UserError) else unusable_file(error) or error
            log.error("%s: %s", found.name, shown)
            failed.append(found.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return failed


def _is_done(folder: Path, made_of: Mapping[str, Any]) -> bool:
    """Whether the masks in `folder` are made of just that.

    Raises:
        UserError: they are made of something else, or there is something else.
    """
    if not folder.exists():
        return False
    try:
        before = read_json(folder / "summary.json")["made_of"]
        other = [key for key in made_of if before.get(key) != made_of[key]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder}: expected a new folder, found something else there; name another output.") from None
    if other:
        raise UserError(
            f"{folder}: expected the masks of this command, found those of another {', '.join(other)}; name another "
            "output."
        )
    return True


def predict_one(
    found: FoundScan, predictor: Predictor, config: PredictConfig, settings: Mapping[str, Any], folder: Path
) -> str:
    """Predict a scan, write masks, alarms.html and summary.json into `folder`; returns what to say of it."""
    scan, post = found.open(), config.postprocess
    prediction = predict_scan(scan, predictor, settings["threshold"], post.largest_component, post.fill_holes)
    started = time.perf_counter()
    told = [*scan.warnings, *write_masks(prediction.mask, scan, config.formats, folder)]
    prediction.seconds["write"] = time.perf_counter() - started
    pixels = prediction.mask.pixels()
    volume_ml = scan.volume_ml(pixels)
    alarms: list[SliceAlarm] = []
    if config.alarms and Axial.of(scan).streams and scan.in_order:
        known = [one.training_range for one in predictor.segmenters]
        findings, alarms = alarms_of(scan, prediction, [TrainingRange(**one) if one else None for one in known])
        told += findings
    elif config.alarms:
        told.append("its slices were not looked at for alarms: they are not axial, or not in their order")
    summary = {
        "name": scan.name,
        "slices": scan.shape[0],
        "slices_with_liver": int((pixels > 0).sum()),
        "spacing_mm": scan.spacing_mm,
        "volume_ml": volume_ml,
        "warnings": told,
        "alarms": [asdict(alarm) for alarm in alarms],
        "seconds": {key: round(value, 2) for key, value in prediction.seconds.items()},
        "made_of": {"scan": found.identity, **settings},
    }
    if config.alarms:
        section = scan_section(scan.name, prediction.mask, scan.hu, volume_ml, told, alarms)
        write_bytes(folder / "alarms.html", qc_page([section], scan.synthetic).encode())
    write_json(folder / "summary.json", summary)
    words = [*told, *(f"look first at slice {one.rank + 1}: {'; '.join(one.reasons)}" for one in alarms[:1])]
    slices = f"{summary['slices_with_liver']} of {scan.shape[0]} slices"
    return f"{volume_ml:.0f} ml in {slices}" + "".join(f"\n  {one}" for one in words)


@contextmanager
def held(output: Path) -> Iterator[None]:
    """Hold an output folder against a second process.

    Raises:
        UserError: one works in it already.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"output={output}: expected a folder, found a file; name another.")
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"output={output}: another process is writing there; wait for it, or name another."
            ) from None
        yield


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="predict")
@plain_errors
def main(cfg: DictConfig) -> None:
    config = checked(PredictConfig, cfg)
    for name, package in (("nifti", "nibabel"), ("dicom_seg", "highdicom")):
        if name in config.formats and find_spec(package) is None:
            raise UserError(
                f"formats: {name} needs {package}; install it with pip install -e '.[clinical]', or leave it out."
            )
    source, output = Path(config.input), Path(config.output)
    if output.resolve().is_relative_to(source.resolve()) and source.is_dir():
        raise UserError(f"output={output}: expected a folder outside of the input, which is never written to.")
    models = [load_segmenter(Path(path))[0] for path in config.checkpoints()]
    thresholds = {float(model.hparams["threshold"]) for model in models}
    if config.threshold is None and len(thresholds) > 1:
        raise UserError(
            f"ckpt: the models were trained with thresholds {sorted(thresholds)}; choose one with threshold=."
        )
    settings: dict[str, Any] = {
        "models": [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in config.checkpoints()],
        "threshold": thresholds.pop() if config.threshold is None else config.threshold,
        "postprocess": asdict(config.postprocess),
        "rotations_deg": list(config.tta.rotations_deg),
        "formats": list(config.formats),
        "alarms": config.alarms,
        "chaos_seg": version("chaos_seg"),
    }
    predictor = Predictor(models, chosen_device(config.device), config.batch_size, config.tta.rotations_deg)
    with held(output):
        scans = find_scans(source, config.series)
        failed = predict(scans, predictor, config, settings)
    log.info("%d of %d scans in %s. Not a medical device.", len(scans) - len(failed), len(scans), output)
    if failed:
        raise UserError(f"Not predicted: {', '.join(failed)}; what was done is kept, run again for the rest.")


if __name__ == "__main__":
    main()
