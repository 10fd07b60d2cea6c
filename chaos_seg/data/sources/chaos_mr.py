"""CHAOS MR: `<set>/MR/<id>/T2SPIR/{DICOM_anon,Ground}` and `T1DUAL/{DICOM_anon/{InPhase,OutPhase},Ground}`.

Both phases of T1-DUAL were taken at once and share their masks, which are numbered as one of them. A mask has four
organs; the liver's greys are 55 to 70 (the challenge's data page).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chaos_seg.data.dicom import SliceHeader, read_mask, read_slice
from chaos_seg.data.sources import Source
from chaos_seg.data.sources.chaos import ChaosSlice, Layout, PatientFolder, files_in, patients_in, place_fault
from chaos_seg.errors import UserError
from chaos_seg.registry import SOURCES

LIVER_GREYS = (55, 70)
SEQUENCES = {
    "T2SPIR": Layout("MR", "T2SPIR/DICOM_anon", "T2SPIR/Ground"),
    "InPhase": Layout("MR", "T1DUAL/DICOM_anon/InPhase", "T1DUAL/Ground"),
    "OutPhase": Layout("MR", "T1DUAL/DICOM_anon/OutPhase", "T1DUAL/Ground"),
}


@SOURCES.register("chaos_mr")
def chaos_mr(root: Path | None, store: Path | None = None, sequence: str = "T2SPIR") -> Source:
    """The MR patients of the CHAOS tree `root` in one sequence.

    Raises:
        UserError: no root, an unknown sequence, or no such patient.
    """
    if sequence not in SEQUENCES:
        raise UserError(f"data.source.sequence={sequence}: expected one of {', '.join(SEQUENCES)}; correct it.")
    if root is None:
        raise UserError(
            "No data root: set data.root=FOLDER or the environment variable CHAOS_ROOT to the folder that holds "
            "Train_Sets/MR."
        )
    return Source(root, patients_in(root, SEQUENCES[sequence], MrPatient))


@dataclass(frozen=True)
class MrPatient(PatientFolder):
    """One patient's slices of one sequence."""

    def slices(self) -> tuple[list[ChaosSlice], list[UserError]]:
        """Paired by rank; the numbers of slices and masks run side by side, or one is missing somewhere."""
        dicoms = files_in(self.dicom_dir, ".dcm")
        masks = files_in(self.mask_dir, ".png") if self.mask_dir is not None else []
        if faults := [fault for path in (*dicoms, *masks) if (fault := place_fault(path, self.root))]:
            return [], faults
        if self.mask_dir is None and dicoms:
            return [MrSlice(path, None) for path in dicoms], []
        apart = {_number(mask) - _number(dicom) for dicom, mask in zip(dicoms, masks, strict=False)}
        if not dicoms or len(dicoms) != len(masks) or len(apart) > 1:
            found = f"{len(dicoms)} and {len(masks)}, numbered {_numbers(dicoms)} and {_numbers(masks)}"
            return [], [
                UserError(
                    f"{self.mask_dir or self.dicom_dir}: expected a PNG for each .dcm of {self.dicom_dir}, numbered "
                    f"alike, found {found}; unpack this patient again.",
                    "masks_unpaired",
                )
            ]
        return [MrSlice(dicom, mask) for dicom, mask in zip(dicoms, masks, strict=True)], []


@dataclass(frozen=True)
class MrSlice(ChaosSlice):
    """The files of one slice."""

    def read(self) -> tuple[SliceHeader, np.ndarray]:
        return read_slice(self.path, "MR")

    def read_mask(self) -> tuple[str, np.ndarray]:
        assert self.mask_path is not None
        return read_mask(self.mask_path, LIVER_GREYS)


def _number(path: Path) -> int:
    """The last number of a name, of IMG-0004-00002.dcm 2; -1 without one."""
    return int((re.findall(r"[0-9]+", path.stem) or ["-1"])[-1])


def _numbers(paths: list[Path]) -> str:
    numbers = [str(_number(path)) for path in paths]
    return " ".join([*numbers[:3], "...", *numbers[-2:]] if len(numbers) > 6 else numbers) or "not at all"
