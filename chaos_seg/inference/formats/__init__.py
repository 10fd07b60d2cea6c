"""Masks in the formats of other tools. A format looks at a scan before anything is predicted and may refuse it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.inference.formats.dicom_seg import Segmentation
from chaos_seg.inference.formats.nifti import nifti_refusal, write_nifti
from chaos_seg.inference.formats.png import write_png

Write = Callable[[Sequence[np.ndarray], Path], None]  # of a mask, slices of bool (rows, columns), below a folder


@dataclass(frozen=True)
class Writer:
    """A format made ready for one scan, and what to know of it."""

    write: Write
    notes: Sequence[str] = ()


def _png(scan: Scan) -> Writer:
    return Writer(lambda mask, folder: write_png(mask, folder / "png"))


def _challenge(scan: Scan) -> Writer:
    return Writer(lambda mask, folder: write_png(mask, folder / "Results"))


def _nifti(scan: Scan) -> Writer:
    if (refusal := nifti_refusal(scan)) is not None:
        raise UserError(refusal)
    return Writer(lambda mask, folder: write_nifti(mask, scan, folder / "liver.nii.gz"))


def _dicom_seg(scan: Scan) -> Writer:
    segmentation = Segmentation(scan)
    return Writer(lambda mask, folder: segmentation.write(mask, folder / "liver.dcm"), segmentation.mended)


FORMATS: dict[str, Callable[[Scan], Writer]] = {
    "png": _png,
    "challenge": _challenge,
    "nifti": _nifti,
    "dicom_seg": _dicom_seg,
}
PACKAGES = {"nifti": "nibabel", "dicom_seg": "highdicom"}


def expect_packages(formats: Sequence[str]) -> None:
    """Raises UserError when what a format needs is not installed."""
    for name in formats:
        if name in PACKAGES and find_spec(PACKAGES[name]) is None:
            raise UserError(
                f"formats: {name} needs {PACKAGES[name]}; install it with pip install -e '.[clinical]', or leave it "
                "out."
            )


def writers_for(scan: Scan, formats: Sequence[str] | None) -> tuple[dict[str, Writer], dict[str, str]]:
    """The writers of those `formats` that can hold a mask of `scan`, and why the others can't, both by name.

    None takes PNG, NIfTI and, of a DICOM scan, DICOM-SEG.
    """
    writers, refused = {}, {}
    for name in formats or ("png", "nifti", *(["dicom_seg"] if scan.is_dicom else [])):
        try:
            writers[name] = FORMATS[name](scan)
        except UserError as error:
            refused[name] = str(error)
    return writers, refused
