"""Scans predicted into folders, one each: masks, alarms and what became of them; kept, refused and failed ones too."""

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

from chaos_seg.data.appearance import unlike_training
from chaos_seg.data.axial import Axial
from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import FoundScan
from chaos_seg.errors import UserError, unusable_file
from chaos_seg.files import locked, read_json, write_bytes, write_json
from chaos_seg.inference.alarms import Alarms, SliceAlarm
from chaos_seg.inference.alarms_page import ScanSection, alarms_page
from chaos_seg.inference.formats import Writer, writers_for
from chaos_seg.inference.levels import KeptLevels
from chaos_seg.inference.prediction import Prediction, alarms_of, predict_scan
from chaos_seg.inference.predictor import Predictor
from chaos_seg.inference.promise import told

log = logging.getLogger(__name__)
logging.getLogger("highdicom").setLevel(logging.ERROR)  # it tells every module that it copies

TURNED_DEG = 10.0  # more is said
UNPACKED = ".unpacked"  # in an output folder: what zips of the input hold


@dataclass(frozen=True)
class Recipe:
    """What the masks of a command are made with, beside the scan; as summary.json keeps it."""

    models: list[str]  # SHA-256 of the checkpoints
    threshold: float
    postprocess: dict[str, bool]  # largest_component, fill_holes
    views: list[list[float]]  # angle in degrees and scale
    formats: list[str] | None
    alarms: bool
    held_out: list[list[float]]  # see promise.held_out()
    chaos_seg: str  # version
    format: dict[str, dict[str, Any]] | None = None  # options of the formats that have others than by default


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
        before = dict(summary["made_of"])
        if "rotations_deg" in before:  # there were no scales
            before["views"] = [[angle, 1] for angle in before["rotations_deg"]]
        other = [key for key in made_of if before.get(key) != made_of[key]]
        _ = summary["name"], summary["refused"]
        missing = [name for name in summary["outputs"] if not _holds(folder / name)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder}: expected a new folder, found something else there; name another output.") from None
    if missing:
        raise UserError(f"{folder}: expected {missing[0]} of a former run, found it gone or empty; remove the folder.")
    if other:
        raise UserError(
            f"{folder}: expected the masks of this command, found those of another {', '.join(other)}; name another "
            "output."
        )
    return summary


def _holds(path: Path) -> bool:
    """Whether a file or a folder is there and not empty."""
    return any(path.iterdir()) if path.is_dir() else path.is_file() and path.stat().st_size > 0


def predict_one(found: FoundScan, predictor: Predictor, recipe: Recipe, folder: Path) -> tuple[dict[str, Any], str]:
    """Predict a scan, write masks, alarms.html and summary.json into `folder`; returns the summary and what to say.

    Raises:
        UserError: the scan makes no volume, or no format can hold its mask, which is known before it is predicted.
    """
    scan = found.open()
    writers, refused = writers_for(scan, recipe.formats, recipe.format)
    if not writers:
        raise UserError("; ".join(f"no {name}: {reason}" for name, reason in refused.items()))
    kept = {name: KeptLevels(folder / f".{name}", one.levels) for name, one in writers.items() if one.levels}
    prediction = predict_scan(scan, predictor, recipe.threshold, **recipe.postprocess, kept=[*kept.values()])
    refused |= _write_masks(writers, prediction, kept, folder)
    pixels = prediction.mask.pixels()
    volume_ml = scan.volume_ml(pixels)
    notes = [*scan.warnings, *_odd_views(scan)]
    notes += dict.fromkeys(note for writer in writers.values() for note in writer.notes)
    unlike = [*dict.fromkeys(s for one in predictor.trained_on for s in unlike_training(prediction.appearance, one))]
    unlike += prediction.doubts
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
        "appearance": asdict(prediction.appearance),
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


def _write_masks(
    writers: Mapping[str, Writer], prediction: Prediction, kept: Mapping[str, KeptLevels], folder: Path
) -> dict[str, str]:
    """Write every format, of the mask or of the probabilities kept for it; returns those that another library failed
    at, and why: the others are kept.
    """
    started, failed = time.perf_counter(), {}
    for name, writer in writers.items():
        try:
            writer.write(kept.get(name, prediction.mask), folder)
            if name in kept:
                kept[name].path.unlink()
        except OSError:
            raise
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    prediction.seconds["write"] = time.perf_counter() - started
    return failed


def _odd_views(scan: Scan) -> list[str]:
    """What of the way in which the network sees a scan is unlike that of any training, a sentence each."""
    axial = Axial.of(scan)
    rows, columns = (scan.shape[axis] for axis in axial.axes[1:])
    turned = axial.turned_deg(scan)
    return [
        *[f"axial slices of {rows} x {columns}: the network sees them squeezed to a square"] * (rows != columns),
        *[f"slices turned by {turned:.0f}° from the body's axes: the network sees them so"] * (turned > TURNED_DEG),
    ]


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


@contextmanager
def held(output: Path, keep: bool = True) -> Iterator[Path]:
    """Hold an output folder against a second process; one that stays empty is removed again, and any without `keep`.

    Yields:
        The folder, in which UNPACKED is gone at the end.

    Raises:
        UserError: one works in it already, or it can't be made.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"output={output}: expected a folder, found a file; name another.")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output={output}: it can't be made ({error.strerror}); name another folder.") from None
    lock, begun = output / ".lock", False
    try:
        with locked(lock, f"output={output}: another process is writing there; wait for it, or name another."):
            begun = True
            shutil.rmtree(output / UNPACKED, ignore_errors=True)
            yield output
    finally:
        for made in [output / UNPACKED] if keep else [path for path in output.iterdir() if path != lock]:
            if begun and made.is_dir():
                shutil.rmtree(made, ignore_errors=True)
            elif begun:
                made.unlink(missing_ok=True)
        if begun and {path.name for path in output.iterdir()} <= {lock.name}:
            lock.unlink(missing_ok=True)
            output.rmdir()
