"""Scans predicted into folders, one each: masks, alarms and what became of them; kept, refused and failed ones too."""

import fcntl
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from tqdm import tqdm

from chaos_seg.data.appearance import TrainingRange, unlike_training
from chaos_seg.data.axial import Axial
from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import FoundScan, Search
from chaos_seg.errors import UserError, unusable_file
from chaos_seg.files import read_json, write_bytes, write_json
from chaos_seg.inference.alarms import Alarms, SliceAlarm
from chaos_seg.inference.alarms_page import ScanSection, alarms_page
from chaos_seg.inference.formats import Writer, writers_for
from chaos_seg.inference.prediction import Prediction, alarms_of, predict_scan
from chaos_seg.inference.predictor import Predictor
from chaos_seg.inference.promise import told

log = logging.getLogger(__name__)
logging.getLogger("highdicom").setLevel(logging.ERROR)  # it tells every module that it copies


@dataclass(frozen=True)
class Recipe:
    """What the masks of a command are made with, beside the scan; as summary.json keeps it."""

    models: list[str]  # SHA-256 of the checkpoints
    threshold: float
    postprocess: dict[str, bool]  # largest_component, fill_holes
    rotations_deg: list[float]
    formats: list[str] | None
    alarms: bool
    held_out: list[list[float]]  # see promise.held_out()
    chaos_seg: str  # version


@dataclass(frozen=True)
class Outcome:
    """What became of one scan; `failure` is why it has no masks, `refused` which formats could not hold them, and why.

    `summary` is what summary.json says of it, without the alarms.
    """

    name: str
    failure: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


def predict(scans: Sequence[FoundScan], predictor: Predictor, recipe: Recipe, output: Path) -> list[Outcome]:
    """Predict each scan into a folder of its own below `output`.

    A folder appears when it is complete. One that is there, of the same scan, models and settings, is kept. Whatever
    a scan raises, the next one is predicted.
    """
    outcomes = []
    for found in tqdm(scans, "Scans", disable=None):
        partial = output / f".{found.name}.partial"
        try:
            outcome = _predict_or_keep(found, predictor, recipe, output / found.name, partial)
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


def _predict_or_keep(found: FoundScan, predictor: Predictor, recipe: Recipe, folder: Path, partial: Path) -> Outcome:
    before = _done_before(folder, {"scan": found.identity, **asdict(recipe)})
    if before is not None:
        log.info("%s: done before", found.name)
        return _outcome(before)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    summary, said = predict_one(found, predictor, recipe, partial)
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


def predict_one(found: FoundScan, predictor: Predictor, recipe: Recipe, folder: Path) -> tuple[dict[str, Any], str]:
    """Predict a scan, write masks, alarms.html and summary.json into `folder`; returns the summary and what to say.

    Raises:
        UserError: the scan makes no volume, or no format can hold its mask, which is known before it is predicted.
    """
    scan = found.open()
    writers, refused = writers_for(scan, recipe.formats)
    if not writers:
        raise UserError("; ".join(f"no {name}: {reason}" for name, reason in refused.items()))
    prediction = predict_scan(scan, predictor, recipe.threshold, **recipe.postprocess)
    refused |= _write_masks(writers, prediction, folder)
    pixels = prediction.mask.pixels()
    volume_ml = scan.volume_ml(pixels)
    notes = [*scan.warnings, *_squeezed(scan), *(note for writer in writers.values() for note in writer.notes)]
    unlike = [*dict.fromkeys(_unlike_training(prediction, predictor))]
    notes += unlike
    suspicious: list[SliceAlarm] = []
    dice: Mapping[str, Any] = {}
    if recipe.alarms:
        looked, pictures = _looked_through(scan, prediction)
        dice = told(looked.dice, recipe.held_out, alike=not unlike)
        notes, suspicious = notes + looked.findings, looked.slices
        section = ScanSection(
            scan.name, scan.shape[0], volume_ml, [*([dice["words"]] if dice else []), *notes], suspicious, pictures
        )
        write_bytes(folder / "alarms.html", alarms_page([section], scan.synthetic).encode())
    summary: dict[str, Any] = {
        "name": found.name,
        "slices": scan.shape[0],
        "slices_with_liver": int((pixels > 0).sum()),
        "spacing_mm": scan.spacing_mm,
        "volume_ml": volume_ml,
        "warnings": notes,
        "refused": refused,
        "dice": dice,
        "alarms": [asdict(alarm) for alarm in suspicious],
        "seconds": {key: round(value, 2) for key, value in prediction.seconds.items()},
        "made_of": {"scan": found.identity, **asdict(recipe)},
    }
    summary["outputs"] = sorted(path.name for path in folder.iterdir())
    write_json(folder / "summary.json", summary)
    words = [
        *([dice["words"]] if dice else []),
        *notes,
        *(f"look first at slice {one.rank + 1}: {'; '.join(one.reasons)}" for one in suspicious[:1]),
    ]
    slices = f"{summary['slices_with_liver']} of {scan.shape[0]} slices"
    return summary, f"{volume_ml:.0f} ml in {slices}" + "".join(f"\n  {one}" for one in words)


def _write_masks(writers: Mapping[str, Writer], prediction: Prediction, folder: Path) -> dict[str, str]:
    """Write every format; returns those that another library failed at, and why: the others are kept."""
    started, failed = time.perf_counter(), {}
    for name, writer in writers.items():
        try:
            writer.write(prediction.mask, folder)
        except OSError:
            raise
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    prediction.seconds["write"] = time.perf_counter() - started
    return failed


def _squeezed(scan: Scan) -> list[str]:
    rows, columns = (scan.shape[axis] for axis in Axial.of(scan).axes[1:])
    return [f"axial slices of {rows} x {columns}: the network sees them squeezed to a square"] * (rows != columns)


def _unlike_training(prediction: Prediction, predictor: Predictor) -> list[str]:
    ranges = [segmenter.training_range for segmenter in predictor.segmenters]
    training_ranges = [TrainingRange(**one) if one else None for one in ranges]
    return [sentence for one in training_ranges for sentence in unlike_training(prediction.appearance, one)]


def _looked_through(scan: Scan, prediction: Prediction) -> tuple[Alarms, list[str]]:
    """alarms_of() a scan, or why there are none."""
    if not (Axial.of(scan).streams and scan.in_order):
        return Alarms(
            ["its slices were not looked at for alarms: they are not axial, or not in their order"], [], nan
        ), []
    started = time.perf_counter()
    looked = alarms_of(scan, prediction)
    prediction.seconds["alarms"] = time.perf_counter() - started
    return looked


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


def closing_words(search: Search, outcomes: Sequence[Outcome], output: Path) -> None:
    """Say what was done, and how many files are in no scan.

    Raises:
        UserError: a scan without masks, a format refused, or a file left out that may hold slices.
    """
    failed = [outcome.name for outcome in outcomes if outcome.failure is not None]
    without = [outcome.name for outcome in outcomes if outcome.refused]
    lost = sum(item.lost for item in search.left_out)
    slices = sum(len(found.files) for found in search.scans)
    log.info("Files: %d are slices of scans, %d are left out.", slices, len(search.left_out))
    log.info("%d of %d scans in %s. Not a medical device.", len(outcomes) - len(failed), len(outcomes), output)
    wrong = [
        *([f"Not predicted: {', '.join(failed)}"] if failed else []),
        *([f"a format refused for: {', '.join(without)}"] if without else []),
        *([f"{lost} files or folders left out that may hold slices"] if lost else []),
    ]
    if wrong:
        raise UserError(f"{'; '.join(wrong)}; see above, and {output / 'summary.json'}. What was done is kept.")


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
