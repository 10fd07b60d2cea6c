"""From CT scans to masks that other tools open: DICOM folders, CHAOS trees and NIfTI in; PNG, NIfTI and DICOM-SEG out.

python -m chaos_seg.predict ckpt=outputs/paper/<run>/checkpoints/best.ckpt input=FOLDER output=FOLDER
"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("predict")  # before the imports that take seconds

import fcntl
import hashlib
import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from chaos_seg.command_line import hydra_command
from chaos_seg.config import PredictConfig, checked
from chaos_seg.data.appearance import Fingerprint, FingerprintCounts, TrainingRange, unlike_training
from chaos_seg.data.scan import Axial, Scan
from chaos_seg.data.scans import FoundScan, Search, choose, find_scans
from chaos_seg.errors import UserError, unusable_file
from chaos_seg.evaluation.masks import fill_holes, largest_component
from chaos_seg.files import read_json, write_bytes, write_json
from chaos_seg.inference.alarms import SliceAlarm, alarms, disagreement
from chaos_seg.inference.formats import expect_packages, writers_for
from chaos_seg.inference.predictor import PackedMask, Predictor, chosen_device
from chaos_seg.reporting.qc_page import Pictures, ScanSection, qc_page
from chaos_seg.training.checkpoints import load_segmenter

log = logging.getLogger(__name__)
logging.getLogger("highdicom").setLevel(logging.ERROR)  # it tells every module that it copies


@dataclass(frozen=True)
class Prediction:
    """A scan's mask in its own axes, what else its slices told on their way, and seconds by part."""

    mask: PackedMask
    disagreement: np.ndarray | None  # (slices,); None of a single pass, or where the scan's slices are not axial
    fingerprint: Fingerprint
    seconds: dict[str, float]


def predict_scan(scan: Scan, predictor: Predictor, threshold: float, largest: bool, holes: bool) -> Prediction:
    """Liver where 255 * probability is above `threshold`, its largest part alone and its holes filled on demand."""
    axial, seconds, disagreements, counts = Axial.of(scan), {"read": 0.0, "network": 0.0}, [], FingerprintCounts()

    def planes() -> Iterator[np.ndarray]:
        for passes in predictor.passes(counts.watch(_timed(axial.slices(scan), seconds))):
            if len(passes) > 1:
                disagreements.append(disagreement(passes * 255 > threshold))
            plane = passes.mean(axis=0) * 255 > threshold
            yield axial.plane_back(plane) if axial.streams else plane

    started = time.perf_counter()
    mask = PackedMask(planes())
    seconds["network"] = time.perf_counter() - started - seconds["read"]
    if not axial.streams:
        mask = PackedMask(axial.back(np.stack(mask)))
    if largest:
        mask = PackedMask(largest_component(mask))
    if holes:
        mask = PackedMask(fill_holes(mask))
    told = np.array(disagreements) if disagreements and axial.streams else None
    spacing_mm = (scan.step_mm if scan.shape[0] > 1 else math.nan, *scan.spacing_mm[1:])
    return Prediction(mask, told, counts.fingerprint(spacing_mm), seconds)


def alarms_of(scan: Scan, prediction: Prediction, volume_ml: float) -> tuple[list[str], list[SliceAlarm], list[str]]:
    """What is suspicious in a scan as a whole, its suspicious slices, worst first, and pictures of the first.

    Each slice is read once at most.
    """
    pictures = Pictures(scan.hu, prediction.mask)
    found = alarms(prediction.mask, pictures.hu, scan.spacing_mm, volume_ml, prediction.disagreement)
    return found.findings, found.slices, pictures.of(found.slices)


def _timed(slices: Iterator[np.ndarray], seconds: dict[str, float]) -> Iterator[np.ndarray]:
    while True:
        started = time.perf_counter()
        plane = next(slices, None)
        seconds["read"] += time.perf_counter() - started
        if plane is None:
            return
        yield plane


@dataclass(frozen=True)
class Outcome:
    """What became of one scan; `failure` is why it has no masks, `refused` which formats could not hold them, and why.

    `summary` is what summary.json says of it, without the alarms.
    """

    name: str
    failure: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


def predict(
    scans: Sequence[FoundScan], predictor: Predictor, config: PredictConfig, settings: Mapping[str, Any]
) -> list[Outcome]:
    """Predict each scan into a folder of its own.

    A folder appears when it is complete. One that is there, of the same scan, models and settings, is kept. Whatever
    a scan raises, the next one is predicted.
    """
    outcomes = []
    for found in tqdm(scans, "Scans", disable=None):
        partial = Path(config.output) / f".{found.name}.partial"
        try:
            outcome = _predict_or_keep(found, predictor, config, settings, partial)
        except (UserError, OSError) as error:
            outcome = Outcome(found.name, str(unusable_file(error) or error if isinstance(error, OSError) else error))
        except Exception as error:
            log.exception("%s: unexpected", found.name)
            outcome = Outcome(found.name, f"{type(error).__name__}: {error}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        if outcome.failure is not None:
            log.error("%s: %s", found.name, outcome.failure)
        for name, reason in outcome.refused.items():
            log.error("%s: no %s: %s", found.name, name, reason)
        outcomes.append(outcome)
    return outcomes


def _predict_or_keep(
    found: FoundScan, predictor: Predictor, config: PredictConfig, settings: Mapping[str, Any], partial: Path
) -> Outcome:
    folder = Path(config.output) / found.name
    before = _done_before(folder, {"scan": found.identity, **settings})
    if before is not None:
        log.info("%s: done before", found.name)
        return _outcome(before)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    summary, said = predict_one(found, predictor, config, settings, partial)
    partial.rename(folder)
    log.info("%s: %s", found.name, said)
    return _outcome(summary)


def _outcome(summary: Mapping[str, Any]) -> Outcome:
    short = {key: value for key, value in summary.items() if key not in ("alarms", "made_of", "seconds", "name")}
    return Outcome(summary["name"], None, summary["refused"], short)


def _done_before(folder: Path, made_of: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The summary of the masks in `folder`, when they are made of just that; None without folder.

    Raises:
        UserError: they are made of something else, or there is something else.
    """
    if not folder.exists():
        return None
    try:
        summary: Mapping[str, Any] = read_json(folder / "summary.json")
        other = [key for key in made_of if summary["made_of"].get(key) != made_of[key]]
        _ = summary["name"], summary["refused"]
        missing = [name for name in summary["outputs"] if not (folder / name).exists()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder}: expected a new folder, found something else there; name another output.") from None
    if missing:
        raise UserError(f"{folder}: expected {missing[0]} of a former run, found it gone; remove the folder.")
    if other:
        raise UserError(
            f"{folder}: expected the masks of this command, found those of another {', '.join(other)}; name another "
            "output."
        )
    return summary


def predict_one(
    found: FoundScan, predictor: Predictor, config: PredictConfig, settings: Mapping[str, Any], folder: Path
) -> tuple[dict[str, Any], str]:
    """Predict a scan, write masks, alarms.html and summary.json into `folder`; returns the summary and what to say.

    Raises:
        UserError: the scan makes no volume, or no format can hold its mask, which is known before it is predicted.
    """
    scan, post = found.open(), config.postprocess
    writers, refused = writers_for(scan, config.formats)
    if not writers:
        raise UserError("; ".join(f"no {name}: {reason}" for name, reason in refused.items()))
    prediction = predict_scan(scan, predictor, settings["threshold"], post.largest_component, post.fill_holes)
    started = time.perf_counter()
    rows, columns = (scan.shape[axis] for axis in Axial.of(scan).axes[1:])
    squeezed = [f"axial slices of {rows} x {columns}: the network sees them squeezed to a square"] * (rows != columns)
    told = [*scan.warnings, *squeezed, *(note for writer in writers.values() for note in writer.notes)]
    for name, writer in writers.items():
        try:
            writer.write(prediction.mask, folder)
        except OSError:
            raise
        except Exception as error:  # another library's: its format is lost, the others are not
            refused[name] = f"{type(error).__name__}: {error}"
    prediction.seconds["write"] = time.perf_counter() - started
    pixels = prediction.mask.pixels()
    volume_ml = scan.volume_ml(pixels)
    suspicious: list[SliceAlarm] = []
    pictures: list[str] = []
    known = [one.training_range for one in predictor.segmenters]
    training = [TrainingRange(**one) if one else None for one in known]
    told += dict.fromkeys(said for seen in training for said in unlike_training(prediction.fingerprint, seen))
    started = time.perf_counter()
    if config.alarms and Axial.of(scan).streams and scan.in_order:
        findings, suspicious, pictures = alarms_of(scan, prediction, volume_ml)
        told += findings
        prediction.seconds["alarms"] = time.perf_counter() - started
    elif config.alarms:
        told.append("its slices were not looked at for alarms: they are not axial, or not in their order")
    summary: dict[str, Any] = {
        "name": found.name,
        "slices": scan.shape[0],
        "slices_with_liver": int((pixels > 0).sum()),
        "spacing_mm": scan.spacing_mm,
        "volume_ml": volume_ml,
        "warnings": told,
        "refused": refused,
        "alarms": [asdict(alarm) for alarm in suspicious],
        "seconds": {key: round(value, 2) for key, value in prediction.seconds.items()},
        "made_of": {"scan": found.identity, **settings},
    }
    if config.alarms:
        section = ScanSection(scan.name, scan.shape[0], volume_ml, told, suspicious, pictures)
        write_bytes(folder / "alarms.html", qc_page([section], scan.synthetic).encode())
    summary["outputs"] = sorted(path.name for path in folder.iterdir())
    write_json(folder / "summary.json", summary)
    words = [*told, *(f"look first at slice {one.rank + 1}: {'; '.join(one.reasons)}" for one in suspicious[:1])]
    slices = f"{summary['slices_with_liver']} of {scan.shape[0]} slices"
    return summary, f"{volume_ml:.0f} ml in {slices}" + "".join(f"\n  {one}" for one in words)


def summary_of(search: Search, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What became of every file below the input, for summary.json of the output folder."""
    done = {outcome.name: outcome for outcome in outcomes}
    scans = []
    for found in search.scans:
        outcome = done.get(found.name)
        status = "not chosen" if outcome is None else "predicted" if outcome.failure is None else "failed"
        rest = {} if outcome is None else {"failure": outcome.failure, "refused": outcome.refused, **outcome.summary}
        scans.append({"name": found.name, "about": found.about, "status": status, "files": len(found.files), **rest})
    left_out = [{"file": str(item.path), "reason": item.reason, "may_be_slices": item.lost} for item in search.left_out]
    return {
        "files_of_scans": sum(len(found.files) for found in search.scans),
        "files_left_out": len(left_out),
        "scans": scans,
        "left_out": left_out,
    }


@contextmanager
def held(output: Path) -> Iterator[None]:
    """Hold an output folder against a second process; one that stays empty is removed again.

    Raises:
        UserError: one works in it already, or it can't be made.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"output={output}: expected a folder, found a file; name another.")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output={output}: it can't be made ({error.strerror}); name another folder.") from None
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"output={output}: another process is writing there; wait for it, or name another."
            ) from None
        try:
            yield
        finally:
            if [path.name for path in output.iterdir()] == [".lock"]:
                (output / ".lock").unlink()
                output.rmdir()


@hydra_command("predict")
def main(cfg: DictConfig) -> None:
    config = checked(PredictConfig, cfg)
    expect_packages(config.formats or ())
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
        "formats": config.formats,
        "alarms": config.alarms,
        "chaos_seg": version("chaos_seg"),
    }
    predictor = Predictor(models, chosen_device(config.device), config.batch_size, config.tta.rotations_deg)
    unpacked = output / ".unpacked"
    with held(output):
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            search = find_scans(source, unpacked)
            for reason in search.reasons():
                log.warning("%s", reason)
            outcomes = predict(choose(search.scans, config.names()), predictor, config, settings)
            write_json(output / "summary.json", summary_of(search, outcomes))
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    failed = [outcome.name for outcome in outcomes if outcome.failure is not None]
    without = [outcome.name for outcome in outcomes if outcome.refused]
    lost = sum(item.lost for item in search.left_out)
    chosen, slices = len(outcomes), sum(len(found.files) for found in search.scans)
    log.info("Files: %d are slices of scans, %d are left out.", slices, len(search.left_out))
    log.info("%d of %d scans in %s. Not a medical device.", chosen - len(failed), chosen, output)
    wrong = [
        *([f"Not predicted: {', '.join(failed)}"] if failed else []),
        *([f"a format refused for: {', '.join(without)}"] if without else []),
        *([f"{lost} files or folders left out that may hold slices"] if lost else []),
    ]
    if wrong:
        raise UserError(f"{'; '.join(wrong)}; see above, and {output / 'summary.json'}. What was done is kept.")


if __name__ == "__main__":
    main()
