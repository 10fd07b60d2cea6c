"""NIfTI volumes as scans; needs nibabel (the extra `clinical`)."""

import gzip
import logging
import math
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chaos_seg.data.dicom import HU_RANGE, MAX_PIXELS, RANGES
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError

TO_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
APART_MM = 1.0  # sform and qform that put a voxel further apart contradict each other
LABELS = 256  # whole numbers from 0 up, at most so many: labels or an 8-bit picture, no HU
CHUNK = 1 << 22
MIN_STEP_MM, MAX_STEP_MM, MAX_PLACE_MM = 1e-3, 1e3, 1e6
MAX_SLICES, MAX_OFFSET = 100_000, 1 << 26  # bytes before the voxels: extensions


def is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def is_label_map(path: Path) -> bool:
    """Whether the volume holds a few whole numbers from 0 up, as no CT does. Reads all of it.

    Raises:
        UserError: nothing that can be read to its end; a damaged .gz is seen by its checksum.
    """
    with _mended():  # nifti_scan() tells
        image = _opened(path)
    data_type, stored = image.get_data_dtype(), image.dataobj
    values: set[int] = set()
    size = 0
    may_be = data_type.kind in "iu" and (stored.slope, stored.inter) == (1.0, 0.0)
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            file.seek(stored.offset)
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if may_be:
                    whole = len(chunk) // data_type.itemsize * data_type.itemsize
                    values |= set(np.unique(np.frombuffer(chunk[:whole], data_type))[: LABELS + 1].tolist())
                    may_be = len(values) <= LABELS and min(values, default=0) >= 0
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from None
    if size < (needed := math.prod(image.shape) * data_type.itemsize):
        raise UserError(f"{path}: expected {needed} bytes of voxels, found {size}; the file is cut off: copy it again.")
    return may_be


def nifti_scan(name: str, path: Path, modality: str = "CT") -> Scan:
    """A NIfTI volume of HU, or of MR, as a scan, its slices the planes along its third axis.

    Raises:
        UserError: no volume of numbers with three axes that lies somewhere.
    """
    volume = nifti_volume(name, path)
    return replace(volume, read=lambda rank: as_hu(volume.read(rank), modality), modality=modality)


def as_hu(plane: np.ndarray, modality: str = "CT") -> np.ndarray:
    """Numbers of any kind rounded and clipped to int16 HU; what is no number is outside of the scanner's circle."""
    outside = HU_RANGE[0] if modality == "CT" else 0
    return np.clip(np.rint(np.nan_to_num(plane, nan=outside)), *RANGES[modality]).astype(np.int16)


def nifti_volume(name: str, path: Path) -> Scan:
    """As nifti_scan(), of numbers as they stand in the file: float32, of HU or labels.

    A .nii.gz is unpacked into a nameless temporary file, so that slices are read in any order.

    Raises:
        UserError: as nifti_scan(), and a damaged .nii.gz.
    """
    with _mended() as mended:
        image = _opened(path)
    header = image.header
    affine, shape = np.asarray(image.affine, float), tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    kind = image.get_data_dtype().kind
    unit = str(header.get_xyzt_units()[0])
    steps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3] * TO_MM.get(unit, 1.0)  # RAS to LPS
    sizes = np.linalg.norm(steps, axis=0)  # of the steps along each axis, and how far away the first voxel is
    # NaN is refused too.
    flat = not (sizes[:3].min() >= MIN_STEP_MM and sizes[:3].max() <= MAX_STEP_MM and sizes[3] <= MAX_PLACE_MM)
    flat = flat or abs(np.linalg.det(steps[:, :3] / sizes[:3])) < 1e-3
    if len(shape) == 3 and kind in "iuf" and flat:
        raise UserError(
            f"{path}: expected voxels of {MIN_STEP_MM} to {MAX_STEP_MM} mm whose axes span a volume, found "
            f"{' x '.join(f'{size:.4g}' for size in sizes[:3])} mm in the unit {unit}; mend the unit or the affine."
        )
    if len(shape) != 3 or min(shape) < 1 or kind not in "iuf":
        raise UserError(
            f"{path}: expected a volume of numbers with three axes and an affine, found shape {shape}, kind {kind!r}; "
            "save one volume of HU."
        )
    voxels = _unpacked(path, image) if path.name.lower().endswith(".gz") else image.dataobj
    # nibabel's axes are (column, row, slice) of a scanner's file; which is which in the patient, Axial tells.
    ranks = np.arange(shape[2])[:, None]

    def read(rank: int) -> np.ndarray:
        try:
            return np.asarray(voxels[(slice(None), slice(None), rank, *[0] * (image.ndim - 3))], np.float32).T
        except Exception as error:  # damaged bytes raise anything in nibabel
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{path}: slice {rank + 1} of {shape[2]} can't be read ({reason:.200}); copy it again."
            ) from None

    unit_notes = [] if TO_MM.get(unit) == 1.0 else [f"its unit is {unit}: taken as such"]
    return Scan(
        name=name,
        files=(path,),
        shape=(shape[2], shape[1], shape[0]),
        origin_mm=steps[:, 3] + ranks * steps[:, 2],
        row_mm=steps[:, 1],
        column_mm=steps[:, 0],
        read=read,
        warnings=(*unit_notes, *mended, *_doubts(header, shape)),
        thickness_mm=float(np.linalg.norm(steps[:, 2])),
        nifti_header=header,
    )


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: expected a NIfTI volume, found a damaged one ({error!s:.200}); copy it again.")


def _unpacked(path: Path, image: Any) -> Any:
    """The voxels of a .nii.gz, as nibabel reads them of a .nii. Its checksum is looked at."""
    from nibabel.arrayproxy import ArrayProxy

    stored, data_type = image.dataobj, image.get_data_dtype()
    needed = stored.offset + math.prod(image.shape) * data_type.itemsize
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the voxels
    try:
        with gzip.open(path) as packed:
            while chunk := packed.read(CHUNK):
                file.write(chunk[: max(0, needed - file.tell())])
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from None
    return ArrayProxy(file, (image.shape, data_type, stored.offset, stored.slope, stored.inter))


@contextmanager
def _mended() -> Iterator[list[str]]:
    """Lists what nibabel mends in a header, which it would only log."""
    mends: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            mends.append(f"its header was mended: {record.getMessage()}")

    logger = logging.getLogger("nibabel.global")
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [Listener()], False
    try:
        yield mends
    finally:
        logger.handlers, logger.propagate = handlers, propagate


def _opened(path: Path) -> Any:
    try:
        import nibabel as nib
    except ImportError:
        raise UserError(f"{path}: NIfTI needs nibabel; install it with pip install -e '.[clinical]'.") from None
    try:
        image: Any = nib.load(path, keep_file_open=True)
        _ = image.affine, image.get_data_dtype(), image.header.get_xyzt_units(), image.dataobj.slope
        assert isinstance(image.header, nib.Nifti1Header), f"it is {type(image).__name__}"
        assert math.prod(image.shape[:2]) <= MAX_PIXELS and math.prod(image.shape[2:]) <= MAX_SLICES, "absurd size"
        assert 0 <= image.dataobj.offset <= MAX_OFFSET, "absurd place of the voxels"
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: expected a NIfTI volume, found none that can be read ({reason:.200}).") from None
    return image


def _doubts(header: Any, shape: tuple[int, ...]) -> list[str]:
    """Whether other programs may put the volume elsewhere: ITK goes by the qform, nibabel by the sform."""
    try:
        sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    except ValueError:
        return ["its qform is no rotation: programs differ in where it lies, and its masks too"]
    if sform is None and qform is None:
        return ["it says no orientation (sform and qform codes are 0): left and right, front and back are a guess"]
    if sform is None or qform is None:
        return []
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    apart = np.linalg.norm(corners @ (sform - qform)[:3, :3].T + (sform - qform)[:3, 3], axis=1).max()
    if apart <= APART_MM:
        return []
    return [f"its sform and qform are up to {apart:.0f} mm apart: programs differ in where it lies, and its masks too"]
