"""Ways to damage a patient's files, and what the audit then finds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from chaos_seg.data.audit import Finding, audit
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import decode

N = 24


Files = list[Path]


Fault = Callable[[Files, Files], None]
Named = Callable[[Fault, set[str], str], None]


def files(tree: Path, patient: str = "1") -> tuple[Files, Files]:
    place = tree / "Train_Sets" / "CT" / patient
    return sorted((place / "DICOM_anon").iterdir()), sorted((place / "Ground").iterdir())


def edit(paths: Files, **tags: object) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        for name, value in tags.items():
            setattr(dataset, name, value)
        dataset.save_as(path)


def mirror_slices(paths: Files, axis: int) -> None:
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = np.flip(dataset.pixel_array, axis).tobytes()
        dataset.save_as(path)


def read(paths: Files) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)).copy() for path in paths]


def write(paths: Files, masks: list[np.ndarray]) -> None:
    for path, mask in zip(paths, masks, strict=True):
        Image.fromarray(mask).save(path)


def findings_of(tree: Path, store: Path, sides: dict[str, str] | None = None) -> list[Finding]:
    volumes, faults = decode(store, find_patients(tree).values())
    return audit(volumes, sides or {}, faults)[1]


def cases(*of_faults: tuple[Fault, set[str], str]) -> pytest.MarkDecorator:
    """A test of each fault: what makes it, the codes of its findings, and what one of them says."""
    return pytest.mark.parametrize(
        ("fault", "codes", "said"), of_faults, ids=lambda value: value.__name__ if callable(value) else ""
    )


def masks_reversed(dicoms: Files, masks: Files) -> None:
    write(masks, read(masks)[::-1])


def slices_swapped(dicoms: Files, masks: Files) -> None:
    a, b = dicoms[10].read_bytes(), dicoms[11].read_bytes()
    dicoms[10].write_bytes(b)
    dicoms[11].write_bytes(a)
