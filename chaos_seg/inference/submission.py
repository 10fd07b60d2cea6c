"""The challenge's test patients: their masks in the folders that it wants, read back, and packed."""

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.files import atomic_file
from chaos_seg.inference.formats.png import write_png
from chaos_seg.inference.prediction import predict_scan
from chaos_seg.inference.predictor import Predictor

log = logging.getLogger(__name__)

# The challenge's test set.
EXPECTED = [*("3", "4", "7", "9", "11", "12", "13", "15", "17", "20"), *(str(number) for number in range(31, 41))]


def results_folder(submission: Path, patient: str) -> Path:
    return submission / "Task2" / "CT" / patient / "Results"


def faults(folder: Path, mask: np.ndarray) -> list[str]:
    """What is wrong with a patient's Results folder, read back, when it should hold `mask` (slices, rows, columns)."""
    names = [f"img{rank:03d}.png" for rank in range(len(mask))]
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there != names:
        missing, other = sorted(set(names) - set(there)), sorted(set(there) - set(names))
        differences = [
            *(f"{name} is missing" for name in missing[:1]),
            *(f"{name} is none of them" for name in other[:1]),
        ]
        expected = f"{len(names)} files, {names[0]} to {names[-1]}"
        return [f"{folder}: expected {expected}, found {len(there)}; {', '.join(differences)}"]
    wrong = []
    for name, plane in zip(names, mask, strict=True):
        try:
            with Image.open(folder / name) as image:
                mode, pixels = image.mode, np.asarray(image)
        except (OSError, UnidentifiedImageError):
            wrong.append(f"{folder / name}: expected a PNG, found a file that is none")
            continue
        if mode != "L" or pixels.shape != plane.shape:
            wrong.append(f"{folder / name}: expected 8 bit, {plane.shape}, found mode {mode}, {pixels.shape}")
        elif not np.isin(pixels, (0, 255)).all():
            wrong.append(
                f"{folder / name}: expected 0 and 255 alone, found {sorted(set(np.unique(pixels)) - {0, 255})[0]}"
            )
        elif not np.array_equal(pixels > 0, plane):
            wrong.append(f"{folder / name}: expected the mask of this slice, found another")
    return wrong


def completeness(patients: Sequence[str]) -> list[str]:
    """What keeps these patients from being the challenge's test set."""
    lacking = []
    if missing := [patient for patient in EXPECTED if patient not in patients]:
        lacking.append(f"{len(missing)} of the challenge's {len(EXPECTED)} patients are missing: {' '.join(missing)}")
    if other := [patient for patient in patients if patient not in EXPECTED]:
        lacking.append(f"not the challenge's: {' '.join(other)}")
    return lacking


def pack(submission: Path, archive: Path) -> None:
    """All files below the folder `submission` as a zip."""
    with atomic_file(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(submission.rglob("*.png")):
            target.write(path, path.relative_to(submission))


def predict_test_set(volumes: Sequence[Scan], predictor: Predictor, threshold: float, largest: bool, to: Path) -> None:
    """Predict each patient into its folder below `to`, of its mask the largest component alone on demand.

    Raises:
        UserError: a blank slice within a patient, or files that are not as they were written.
    """
    wrong: list[str] = []
    for volume in tqdm(volumes, "Predicting patients", disable=None):
        try:
            predicted = predict_scan(volume, predictor, threshold, largest, fill_holes=False)
        except UserError as error:
            lacking = f"patient {volume.name}: expected a scan that can be predicted, found none:"
            raise UserError(lacking, faults=[error]) from None
        mask = np.stack(predicted.mask)
        folder = results_folder(to, volume.name)
        write_png(mask, folder)
        wrong += faults(folder, mask)
        log.info("patient %s: %d masks, %s", volume.name, len(mask), "liver in none" if not mask.any() else "read back")
        for doubt in predicted.doubts:
            log.warning("patient %s: %s", volume.name, doubt)
    if wrong:
        raise UserError(f"{len(wrong)} masks are not as they were written:", faults=wrong)
