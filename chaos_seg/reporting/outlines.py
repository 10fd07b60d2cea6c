"""The training masks that a study's held-out predictions make suspicious, most suspicious first."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from chaos_seg.data.store import StoredScan
from chaos_seg.errors import UserError
from chaos_seg.files import read_csv
from chaos_seg.reporting.overlays import body_box, overlay
from chaos_seg.reporting.page import as_jpeg, data_uri
from chaos_seg.reporting.study_view import study_runs
from chaos_seg.run_folder import RunFolder

SHOWN = 12


@dataclass(frozen=True)
class Outline:
    """A slice's mask: `rank` counts from 0, `suspicion` is its mean over the runs that held the patient out."""

    patient: str
    rank: int
    suspicion: float
    run: str  # one of them


def suspicious_outlines(folder: Path, volumes: Sequence[StoredScan]) -> tuple[list[Outline], list[str]]:
    """Every mask with or without liver that a run in the folder held out, and the patients whom none did.

    Raises:
        UserError: no finished run in the folder kept what it expects of held-out outlines.
    """
    content = {volume.name: volume.content for volume in volumes}
    found: dict[tuple[str, int], list[tuple[float, str]]] = defaultdict(list)
    runs = [run for run, status in study_runs(folder).items() if status == "finished"]
    for run in runs:
        for row in read_csv(RunFolder(run).outlines) if RunFolder(run).outlines.is_file() else []:
            if content.get(row["patient"]) == row["content"]:  # else of another patient, or of masks mended since
                found[row["patient"], int(row["rank"])].append((float(row["suspicion"]), str(run)))
    if not found:
        raise UserError(
            f"runs={folder}: expected finished runs that held out these patients with these masks, found none; train "
            "a study of folds on them, or score its runs again with python -m chaos_seg.evaluate run=..."
        )
    outlines = [
        Outline(patient, rank, float(np.mean([value for value, _ in values])), values[0][1])
        for (patient, rank), values in found.items()
    ]
    seen = {outline.patient for outline in outlines}
    missing = [volume.name for volume in volumes if volume.meta.liver_pixels is not None and volume.name not in seen]
    return sorted(outlines, key=lambda one: (-one.suspicion, one.patient, one.rank)), missing


def outline_pictures(outlines: Sequence[Outline], volumes: Sequence[StoredScan]) -> list[str]:
    """The first SHOWN with the true outline in blue and the predicted one in orange, as data URIs."""
    by_name = {volume.name: volume for volume in volumes}
    pictures = []
    for outline in outlines[:SHOWN]:
        volume = by_name[outline.patient]
        hu, files = (
            volume.hu(outline.rank),
            sorted((RunFolder(Path(outline.run)).predictions / volume.name).glob("*.png")),
        )
        predicted = np.asarray(Image.open(files[outline.rank])) > 0
        picture = overlay(hu, volume.mask(outline.rank), predicted)
        factor = picture.shape[0] // hu.shape[0]
        rows, columns = (slice(box.start * factor, box.stop * factor) for box in body_box(hu))
        pictures.append(data_uri(as_jpeg(picture[rows, columns]), "jpeg"))
    return pictures
