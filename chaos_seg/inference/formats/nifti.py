"""A mask as NIfTI, voxel on voxel on the NIfTI it came from, or on the volume that ITK makes of the DICOM series."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError
from chaos_seg.inference.formats import Levels, Writer
from chaos_seg.registry import FORMATS

PLACE = (  # where a volume lies: copied from a source that is NIfTI itself
    *("xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


@FORMATS.register("nifti", needs=("nibabel", "clinical"))
def nifti(scan: Scan) -> Writer:
    """liver.nii.gz."""
    if (refusal := nifti_refusal(scan)) is not None:
        raise UserError(refusal)
    return Writer(lambda mask, folder: write_nifti(mask, scan, folder / "liver.nii.gz"))


def nifti_refusal(scan: Scan) -> str | None:
    """Why NIfTI can't hold a mask of this scan where it is, if it can't: it has one straight line of equal steps."""
    if not scan.is_dicom or scan.grid() is not None:
        return None
    return f"NIfTI has one step between slices, straight across them, and here {'; '.join(scan.irregularities())}"


@FORMATS.register("probability", needs=("nibabel", "clinical"))
def probability(scan: Scan, bits: int = 8, calibrated: bool = False) -> Writer:
    """probability.nii.gz, whole numbers with the scale that makes probabilities of them.

    Args:
        bits: 8 or 16.
        calibrated: by the temperature that the model was given on its validation patients.
    """
    if bits not in (8, 16):
        raise UserError(f"format.probability.bits={bits}: expected 8 or 16.")
    if (refusal := nifti_refusal(scan)) is not None:
        raise UserError(refusal)
    levels = Levels(2**bits - 1, calibrated)
    return Writer(
        lambda of, folder: write_nifti(of, scan, folder / "probability.nii.gz", levels.highest), levels=levels
    )


def write_nifti(mask: Sequence[np.ndarray], scan: Scan, path: Path, highest: int = 1) -> None:
    """`mask`, slices of bool (rows, columns), as uint8 NIfTI (columns, rows, slices) in `path`, .nii.gz. Whole numbers
    up to `highest` instead are scaled to 1, as uint16 where they need it.

    The slices of a DICOM scan ascend along the direction of a row x that of a column, as GDCM and ITK order them.
    Where slices are missing, planes are empty. Planes are written one after the other.
    """
    if scan.is_dicom:
        header, ranks = _placed(scan)
    else:
        header, ranks = _placed_as(scan), list(range(scan.shape[0]))
    kind = np.dtype("u1" if highest < 256 else "<u2")
    header.set_data_dtype(kind)
    header.set_slope_inter(1 / highest, 0)
    header["descrip"] = b"liver, chaos_seg; not a medical device"
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    empty = np.zeros(scan.shape[1:], kind)
    with gzip.GzipFile(path, "wb", compresslevel=4, mtime=0) as file:
        file.write(header.binaryblock + bytes(4))  # no extension follows
        for rank in ranks:
            file.write((empty if rank < 0 else np.asarray(mask[rank], kind)).tobytes())


def _placed(scan: Scan) -> tuple[Any, list[int]]:
    """A header for a DICOM scan, and the slice of each plane, -1 for none.

    Raises:
        ValueError: the scan lies on no regular grid, see nifti_refusal().
    """
    import nibabel as nib

    if (grid := scan.grid()) is None:
        raise ValueError(nifti_refusal(scan))
    step, places = grid
    ranks = np.full(int(places.max()) + 1, -1)
    ranks[places] = np.arange(len(places))
    affine = np.eye(4)
    affine[:3] = np.stack([scan.column_mm, scan.row_mm, scan.normal * step, scan.origin_mm[ranks[0]]], axis=1)
    affine[:2] *= -1  # LPS to RAS
    header = nib.Nifti1Header()
    header.set_data_shape((scan.shape[2], scan.shape[1], len(ranks)))
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    header.set_xyzt_units("mm")
    return header, ranks.tolist()


def _placed_as(scan: Scan) -> Any:
    """A header that puts the mask of a NIfTI where each program puts its source."""
    import nibabel as nib

    source, header = scan.nifti_header, nib.Nifti1Header()
    header.set_data_shape((scan.shape[2], scan.shape[1], scan.shape[0]))
    header["pixdim"][:4] = source["pixdim"][:4]
    for key in PLACE:
        header[key] = source[key]
    return header
