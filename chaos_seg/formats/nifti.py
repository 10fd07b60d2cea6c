"""A mask as NIfTI, whose affine puts it where the scan is."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chaos_seg.data.scans import Scan


def write_nifti(mask: Sequence[np.ndarray] | np.ndarray, scan: Scan, path: Path) -> None:
    """`mask`, slices of bool (rows, columns), as uint8 NIfTI (columns, rows, slices) in `path`, .nii.gz.

    NIfTI has one step between slices. Where the scan's are uneven, each place of a regular grid takes the slice that is
    nearest, if one is within half a step, and is empty otherwise. Slices are written one after the other.
    """
    import nibabel as nib

    first, step, places = _regular(scan)
    affine = np.eye(4)
    affine[:3] = np.stack([scan.column_mm, scan.row_mm, step, first], axis=1)
    affine[:2] *= -1  # LPS to RAS
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((scan.shape[2], scan.shape[1], len(places)))
    header.set_sform(affine, 1)
    header.set_qform(affine, 1, strip_shears=True)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["descrip"] = b"liver, chaos_seg; not a medical device"
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    empty = np.zeros(scan.shape[1:], np.uint8)
    with gzip.GzipFile(path, "wb", compresslevel=4, mtime=0) as file:
        file.write(header.binaryblock + bytes(4))  # no extension follows
        for rank in places:
            file.write((empty if rank < 0 else np.asarray(mask[rank], np.uint8)).tobytes())


def _regular(scan: Scan) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """A regular grid over the scan: its first place and its step, (3,) each, and each place's slice by rank, or -1."""
    order = np.argsort(scan.z_mm)
    if scan.shape[0] > 1 and order[0] > order[-1]:
        order = order[::-1]  # as the scan goes, where it goes one way
    first, last = scan.origin_mm[order[0]], scan.origin_mm[order[-1]]
    if scan.shape[0] == 1:
        normal = np.cross(scan.column_mm, scan.row_mm)
        return first, normal / np.linalg.norm(normal) * scan.step_mm, [0]
    length = float(np.linalg.norm(last - first))
    distance = (scan.origin_mm - first) @ (last - first) / length
    usual = float(np.median(np.diff(np.sort(distance))))
    count = max(round(length / usual), 1) + 1
    gaps = np.abs(np.arange(count)[:, None] * length / (count - 1) - distance)
    places = np.where(gaps.min(axis=1) <= usual / 2 + 1e-6, gaps.argmin(axis=1), -1)
    return first, (last - first) / (count - 1), places.tolist()
