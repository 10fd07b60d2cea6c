"""The mask of one scan as one file, in place of a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos_seg.data.scans import FoundScan
from chaos_seg.errors import UserError
from chaos_seg.inference.outputs import Outcome

KINDS = {".nii.gz": ("nifti", "probability"), ".dcm": ("dicom_seg", "rtstruct")}  # the first one by default


@dataclass(frozen=True)
class OneFile:
    """A file to be written. What is made on the way lies in the folder `place` beside it, which is gone at the end."""

    path: Path
    ending: str
    format: str

    @classmethod
    def named(cls, output: Path, formats: Sequence[str] | None) -> "OneFile | None":
        """The file that `output` names by its ending; None for a folder.

        Raises:
            UserError: it is there already, or `formats` are none that write such a file.
        """
        ending = next((one for one in KINDS if output.name.endswith(one)), None)
        if ending is None or output.is_dir():
            return None
        if output.exists():
            raise UserError(f"output={output}: expected a new file, found one; remove it, or name another.")
        chosen = list(formats or KINDS[ending][:1])
        if len(chosen) != 1 or chosen[0] not in KINDS[ending]:
            raise UserError(
                f"formats={','.join(chosen)}: expected one of {', '.join(KINDS[ending])} for output={output}; choose "
                "one, or name a folder."
            )
        return cls(output, ending, chosen[0])

    @property
    def place(self) -> Path:
        return self.path.with_name(f".{self.path.name}.partial")


def expect_one(file: OneFile | None, scans: Sequence[FoundScan]) -> Sequence[FoundScan]:
    """The scans; raises UserError for more than one where there is one file."""
    if file is not None and len(scans) > 1:
        raise UserError(
            f"output={file.path}: expected one scan for one file, found {len(scans)} "
            f"({', '.join(scan.name for scan in scans[:3])}{', ...' if len(scans) > 3 else ''}); choose one with "
            "series=NAME, or name a folder."
        )
    return scans


def take_file(file: OneFile | None, outcomes: Sequence[Outcome]) -> None:
    """Give what was made of the one scan its name as a file, if one was asked for."""
    if file is None:
        return
    for outcome in outcomes:
        for made in (file.place / outcome.name).glob(f"*{file.ending}"):
            made.replace(file.path)
