"""The index of a CHAOS tree: which patients are there, and which mask belongs to which DICOM slice.

Layout (Zenodo record 3362845): `Train_Sets/CT/<id>/{DICOM_anon,Ground}` and `Test_Sets/CT/<id>/DICOM_anon`;
MR lies beside them (chaos_mr.py). The k-th mask belongs to the k-th DICOM file by *file name*: InstanceNumber
grows along it and z descends, so readers that sort by z see the masks in reverse.
"""

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from chaos_seg.data.dicom import SliceHeader, read_mask, read_slice
from chaos_seg.data.sources import Source
from chaos_seg.errors import UserError, raise_faults
from chaos_seg.registry import SOURCES


@dataclass(frozen=True)
class PatientFolder:
    """One patient's place in the tree; `mask_dir` is None in the challenge's test set, which has no masks."""

    patient: str
    dicom_dir: Path
    mask_dir: Path | None
    root: Path  # of the tree, without links itself: no file may lead out of it
    variant: str = ""

    @property
    def place(self) -> Path:
        return self.dicom_dir

    @property
    def labelled(self) -> bool:
        return self.mask_dir is not None

    def files(self) -> list[Path]:
        folders = (self.dicom_dir, self.mask_dir) if self.mask_dir is not None else (self.dicom_dir,)
        return [path for folder in folders for path in sorted(folder.iterdir(), key=lambda path: path.name)]

    def slices(self) -> tuple[list["ChaosSlice"], list[UserError]]:
        return pair_slices(self)


@dataclass(frozen=True)
class ChaosSlice:
    """The files of one slice: DICOM and PNG."""

    path: Path
    mask_path: Path | None

    def read(self) -> tuple[SliceHeader, np.ndarray]:
        return read_slice(self.path)

    def read_mask(self) -> tuple[str, np.ndarray]:
        assert self.mask_path is not None
        return read_mask(self.mask_path)

    def mask_digest(self) -> bytes:
        assert self.mask_path is not None
        return hashlib.sha256(self.mask_path.read_bytes()).digest()


@dataclass(frozen=True)
class Layout:
    """Where a CHAOS tree has slices and masks: `<set>/<modality>/<id>/<dicoms>` and `<masks>`."""

    modality: str
    dicoms: str
    masks: str


CT = Layout("CT", "DICOM_anon", "Ground")
P = TypeVar("P", bound=PatientFolder)


@SOURCES.register("chaos")
def chaos(root: Path | None, store: Path | None = None) -> Source:
    """The CHAOS tree `root`.

    Raises:
        UserError: no root, or as find_patients().
    """
    if root is None:
        raise UserError(
            "No data root: set data.root=FOLDER or the environment variable CHAOS_ROOT to the folder that holds "
            "Train_Sets, or try the built-in phantom with data=phantom."
        )
    return Source(root, find_patients(root))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `img10` after `img9`: runs of digits compare as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part]


def find_patients(root: Path) -> dict[str, PatientFolder]:
    """All CT patients below `root` by id, in natural order; as patients_in()."""
    return patients_in(root, CT, PatientFolder)


def patients_in(root: Path, layout: Layout, kind: type[P]) -> dict[str, P]:
    """All patients of a layout below `root` by id, in natural order.

    Raises UserError when `root` is not a CHAOS tree, a patient id occurs in both sets, or a folder has a name that
    can't be printed or lies outside the tree.
    """
    if not root.is_dir():
        raise UserError(
            f"{root}: expected the folder that holds Train_Sets, found no such folder; set data.root or the "
            "environment variable CHAOS_ROOT to it."
        )
    folders_of: dict[str, P] = {}
    place_of: dict[str, Path] = {}
    faults: list[UserError] = []
    real_root = Path(os.path.realpath(root))
    for subset in ("Train_Sets", "Test_Sets"):
        side = root / subset / layout.modality
        folders = [p for p in side.iterdir() if (p / layout.dicoms).is_dir()] if side.is_dir() else []
        for folder in folders:
            if folder.name in folders_of:
                raise UserError(
                    f"{folder}: patient {folder.name} is also in {place_of[folder.name]}; "
                    "ids must be unique, so remove or rename one of the two."
                )
            dicoms, masks = folder / layout.dicoms, folder / layout.masks
            place_of[folder.name] = folder
            mask_dir = masks if masks.is_dir() else None
            folders_of[folder.name] = kind(folder.name, dicoms, mask_dir, real_root)
            faults += [fault for place in (folder, dicoms, masks) if (fault := place_fault(place, real_root))][:1]
    raise_faults(faults, root)
    if not folders_of:
        raise UserError(
            f"{root}: expected Train_Sets/{layout.modality}/<id>/{layout.dicoms} below it, found no {layout.modality} "
            "patient; point data.root at "
            "the folder that holds Train_Sets."
        )
    return dict(sorted(folders_of.items(), key=lambda item: natural_key(item[0])))


def pair_slices(folder: PatientFolder) -> tuple[list[ChaosSlice], list[UserError]]:
    """The slices of one patient with their masks, and the faults that forbid to pair them (empty when sound).

    Pairs by rank in natural file-name order, which serves both naming schemes of CHAOS: `i0000,0000b.dcm`
    (0-based) and `IMG-0001-00001.dcm` (1-based).
    """
    dicoms = files_in(folder.dicom_dir, ".dcm")
    if not dicoms:
        empty = f"{folder.dicom_dir}: expected .dcm files, found none; unpack this patient again."
        return [], [UserError(empty, "masks_unpaired")]
    masks = files_in(folder.mask_dir, ".png") if folder.mask_dir is not None else []
    faults = [fault for path in (*dicoms, *masks) if (fault := place_fault(path, folder.root))]
    if faults:
        return [], faults
    if folder.mask_dir is None:
        return [ChaosSlice(path, None) for path in dicoms], []
    if not masks:
        empty = f"{folder.mask_dir}: expected {len(dicoms)} PNG masks, found none; unpack them again."
        return [], [UserError(empty, "masks_unpaired")]
    numbering = _numbering_fault(folder.mask_dir, masks, len(dicoms))
    if numbering:
        return [], [UserError(numbering, "masks_unpaired")]
    return [ChaosSlice(dicom, mask) for dicom, mask in zip(dicoms, masks, strict=True)], []


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Files of one kind in natural order, without the hidden ones that macOS leaves beside them."""
    files = [p for p in folder.iterdir() if p.suffix.lower() == suffix and not p.name.startswith(".")]
    return sorted(files, key=lambda path: natural_key(path.name))


def place_fault(path: Path, root: Path) -> UserError | None:
    """What is wrong with the name of `path` or with where it leads."""
    if not path.name.isprintable():
        return UserError(f"{path.parent}: expected names of printable characters, found {path.name!r}; rename it.")
    target = Path(os.path.realpath(path))  # Path.resolve raises on links that run in a circle
    if not target.is_relative_to(root):
        return UserError(f"{path}: expected a place in the tree, found a link to {target}; copy that into the tree.")
    return None


def _numbering_fault(folder: Path, masks: list[Path], slices: int) -> str | None:
    """What is wrong with the numbers in the masks' names: a gap would shift every mask behind it by one."""
    numbers = [int(digits[-1]) if (digits := re.findall(r"[0-9]+", path.stem)) else None for path in masks]
    if None in numbers:
        name = masks[numbers.index(None)].name
        return f"{folder / name}: expected a mask numbered like liver_GT_012.png; rename or remove it."
    have = [number for number in numbers if number is not None]
    start = 1 if have[0] >= 1 and have[-1] >= slices else 0
    wanted, counts = range(start, start + slices), Counter(have)
    missing = [str(number) for number in wanted if number not in counts]
    extra = [path.name for path, number in zip(masks, have, strict=True) if number not in wanted]
    if len(counts) < len(have):
        twice = [path.name for path, number in zip(masks, have, strict=True) if counts[number] > 1]
        return f"{folder}: expected one mask a number, found {', '.join(twice)}; remove the wrong one."
    if not missing and not extra:
        return None
    differences = f"found {len(masks)}"
    differences += f", without number {', '.join(missing)}" if missing else ""
    differences += f", with {', '.join(extra)} too many" if extra else ""
    return (
        f"{folder}: expected {slices} masks, one for each DICOM file, numbered from {start} to "
        f"{start + slices - 1}; {differences}; restore the missing files or remove the extra ones."
    )
