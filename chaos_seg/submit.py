"""Predict the challenge's test patients and pack their masks as it wants them.

python -m chaos_seg.submit run=outputs/paper/<run> output=submission
"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("submit")  # before the imports that take seconds

import logging
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from chaos_seg.command_line import hydra_command
from chaos_seg.config import SubmitConfig, checked
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from chaos_seg.errors import UserError
from chaos_seg.evaluate import trained_config
from chaos_seg.evaluation.masks import largest_component
from chaos_seg.files import atomic_file
from chaos_seg.inference.formats.png import write_png
from chaos_seg.inference.predictor import Predictor, chosen_device
from chaos_seg.training.checkpoints import load_segmenter

log = logging.getLogger(__name__)

# The challenge's test set.
EXPECTED = [*("3", "4", "7", "9", "11", "12", "13", "15", "17", "20"), *(str(number) for number in range(31, 41))]


def results_folder(submission: Path, patient: str) -> Path:
    return submission / "Task2" / "CT" / patient / "Results"


def faults(folder: Path, mask: np.ndarray) -> list[str]:
    """What is wrong with a patient's Results folder, read back, when it should hold `mask` (slices, rows, columns)."""
    names = [f"img{rank:03d}.png" for rank in range(len(mask))]
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if found != names:
        missing, other = sorted(set(names) - set(found)), sorted(set(found) - set(names))
        told = [*(f"{name} is missing" for name in missing[:1]), *(f"{name} is none of them" for name in other[:1])]
        expected = f"{len(names)} files, {names[0]} to {names[-1]}"
        return [f"{folder}: expected {expected}, found {len(found)}; {', '.join(told)}"]
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
    told = []
    if missing := [patient for patient in EXPECTED if patient not in patients]:
        told.append(f"{len(missing)} of the challenge's {len(EXPECTED)} patients are missing: {' '.join(missing)}")
    if other := [patient for patient in patients if patient not in EXPECTED]:
        told.append(f"not the challenge's: {' '.join(other)}")
    return told


def pack(submission: Path, archive: Path) -> None:
    """All files below the folder `submission` as a zip."""
    with atomic_file(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(submission.rglob("*.png")):
            target.write(path, path.relative_to(submission))


@hydra_command("submit")
def main(cfg: DictConfig) -> None:
    config = checked(SubmitConfig, cfg)
    output = Path(config.output)
    archive = output.with_name(f"{output.name}.zip")
    if archive.exists():
        raise UserError(f"{archive}: expected a new file, found one; name another output=FOLDER.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: expected a new folder, found something in it; name another with output=FOLDER.")
    trained = trained_config(Path(config.run), config.root, config.store)
    root = trained.data.tree()
    folders = [p for p in find_patients(root).values() if p.dicom_dir.parent.parent.parent.name == "Test_Sets"]
    if not folders:
        raise UserError(f"{root}: expected Test_Sets/CT/<id>/DICOM_anon below it, found none; see chaos_seg.prepare.")
    segmenter, _ = load_segmenter(Path(config.run) / "checkpoints" / f"{config.checkpoint}.ckpt")
    threshold = float(segmenter.hparams["threshold"]) if config.threshold is None else config.threshold
    predictor = Predictor([segmenter], chosen_device(config.device))
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    found: list[str] = []
    volumes = open_volumes(Path(trained.data.store), folders)
    for volume in tqdm(volumes, "Predicting patients", disable=None):
        mask = np.stack(predictor.mask((volume.hu(rank) for rank in range(volume.slices)), threshold))
        if config.largest_component:
            mask = np.stack([*largest_component(mask)])
        folder = results_folder(partial, volume.patient)
        write_png(mask, folder)
        found += faults(folder, mask)
        log.info(
            "patient %s: %d masks, %s", volume.patient, len(mask), "liver in none" if not mask.any() else "read back"
        )
    if found:
        raise UserError(f"{len(found)} masks are not as they were written:", faults=found)
    if output.exists():
        output.rmdir()
    partial.rename(output)
    log.info("%d patients in %s", len(volumes), output / "Task2" / "CT")
    lacking = completeness([volume.patient for volume in volumes])
    if lacking:
        raise UserError(
            f"{output}: not packed, for {'; '.join(lacking)}. Put them below {root}/Test_Sets/CT and run again."
        )
    pack(output, archive)
    log.info("Submission: %s", archive)


if __name__ == "__main__":
    main()
