"""One DICOM CT slice or one PNG mask from a file to an array."""

import hashlib
import io
import itertools
import logging
import operator
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from PIL import Image
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from chaos_seg.data.compressed import pixels
from chaos_seg.data.identity import identifying
from chaos_seg.errors import UserError

# CHAOS has pixels of up to 49,944 HU in the corners of some patients and -2048 as padding. 3071 HU is the end of the
# 12-bit range of CT; int16 holds what is left.
HU_RANGE = (-2048, 3071)
RANGES = {"CT": HU_RANGE, "MR": (-(2**15), 2**15 - 1)}  # of what is read: MR has no unit, and is kept as it is
Span = tuple[int, int]
MAX_PIXELS = 2048 * 2048  # a CT slice has 512 x 512, seldom 1024 x 1024
DEFLATED = DeflatedExplicitVRLittleEndian.encode()
MAX_BYTES = 16 * 1024 * 1024  # of a file; an uncompressed slice of MAX_PIXELS has half of that
PIXELS = 0x7FE00008  # the first tag of pixel data
MAX_ELEMENTS = 20_000  # of a DICOM file; CT has about 100, and a million take pydicom four seconds

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it logs tracebacks of what becomes a UserError here


@dataclass(frozen=True)
class SliceHeader:
    """What geometry and audit need of one slice; millimetres in DICOM patient coordinates (LPS)."""

    rows: int
    columns: int
    position_mm: tuple[float, ...]  # ImagePositionPatient: centre of the first pixel
    orientation: tuple[float, ...]  # ImageOrientationPatient: direction of a row, then of a column
    pixel_spacing_mm: tuple[float, ...]  # PixelSpacing: between rows, between columns
    hu_min: int  # before clipping to HU_RANGE
    hu_max: int
    content: str  # hash of the file
    slice_thickness_mm: float | None = None  # SliceThickness; not the distance between slices, which may overlap
    spacing_between_slices_mm: float | None = None  # SpacingBetweenSlices
    slice_location_mm: float | None = None  # SliceLocation
    intercept: float = 0.0  # RescaleIntercept
    slope: float = 1.0  # RescaleSlope
    uid: str = ""  # hash of SOPInstanceUID, or of the one in the file's meta information; "" without, as below
    series: str = ""  # hash of SeriesInstanceUID
    frame: str = ""  # hash of FrameOfReferenceUID
    study: str = ""  # hash of StudyInstanceUID, which may tell a date
    person: str = ""  # hash of PatientID
    transfer_syntax: str = ""
    identifying: tuple[str, ...] = ()  # places of what could identify a person
    synthetic: bool = False  # SyntheticData (0008,001C)
    modality: str = "CT"


def read_slice(path: Path, modality: str = "CT") -> tuple[SliceHeader, np.ndarray]:
    """Decode the DICOM file `path` of a modality (RANGES) into its header and HU, or the grey values of MR.

    Returns:
        The header and int16 HU of shape (rows, columns), clipped to its range. HU = slope * stored + intercept
        (DICOM PS3.3 C.11.1, Modality LUT), with the rescale of this very file, which MR need not have.

    Raises:
        UserError: not DICOM, of another modality, a missing attribute, an absurd size, or pixels that can't be decoded.
    """
    _expect_ordinary_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks on values that don't matter here
            data = path.read_bytes()
            _expect_inflated(path, data)
            dataset = _dataset(io.BytesIO(data), stop_at_pixels=False)
            found = dataset.get("Modality")
            if found != modality:
                raise UserError(
                    f"{path}: expected Modality {modality}, found {found!s:.40}; remove this series from the folder.",
                    f"not_{modality.lower()}",
                )
            if modality == "MR":
                slope, intercept = dataset.get("RescaleSlope", 1), dataset.get("RescaleIntercept", 0)
                dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
            frames, samples = int(dataset.get("NumberOfFrames") or 1), int(dataset.SamplesPerPixel)
            if (frames, samples) != (1, 1):
                raise UserError(
                    f"{path}: expected one grey slice, found {frames} frames of {samples} samples a pixel; remove it."
                )
            # Not text that means a number, since it is multiplied.
            rows, columns = operator.index(dataset.Rows), operator.index(dataset.Columns)
            _expect_plausible_size(path, rows, columns)
            stored = pixels(dataset)
            if stored.ndim != 2:  # there may be more frames than NumberOfFrames says
                raise UserError(f"{path}: expected one grey slice, found {len(stored)} frames; remove it.")
            hu, extremes = _hounsfield(dataset, stored, RANGES[modality])
            return _header(dataset, extremes, hashlib.sha256(data).hexdigest()), hu
    except UserError:
        raise
    except InvalidDicomError:
        raise UserError(f"{path}: expected a DICOM file, found something else; copy it again.") from None
    except (AttributeError, KeyError) as error:
        raise UserError(f"{path}: expected a complete CT slice, but {error!s:.200}; copy it again.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = "copy it again"
        if "plugin" in reason or "decompress" in reason:
            hint += ", or install the codecs of compressed DICOM with pip install -e '.[codecs]'"
        raise UserError(f"{path}: the DICOM slice can't be read ({reason.rstrip('.:'):.200}); {hint}.") from None


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file that starts with `head`, 132 bytes or more, is DICOM; old archives write it without preamble."""
    if head[128:132] == b"DICM":
        return True
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if head[:4] in (b"\0\x08\0\x05", b"\0\x08\0\x08", b"\0\x08\0\x16"):  # big-endian
        return explicit
    little = head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0"
    return little and (explicit or 0 < int.from_bytes(head[4:8], "little") <= 64)


def read_header(path: Path) -> pydicom.FileDataset:
    """The attributes of a DICOM file up to its pixels, with its file meta information, which may be empty.

    Raises:
        UserError: what would block or fill the memory when opened. Damaged bytes raise anything that pydicom raises.
    """
    _expect_ordinary_file(path)
    with path.open("rb") as file:
        _expect_inflated(path, file.read(4096))
        file.seek(0)
        return _dataset(file, stop_at_pixels=True)


def _dataset(file: BinaryIO, stop_at_pixels: bool) -> pydicom.FileDataset:
    number = itertools.count()

    def stop(tag: BaseTag, *_: object) -> bool:
        return next(number) >= MAX_ELEMENTS or (stop_at_pixels and tag >= PIXELS)

    forced = looks_like_dicom(file.read(140))
    file.seek(0)
    dataset = pydicom.filereader.read_partial(file, stop, force=forced)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _expect_inflated(path: Path, data: bytes) -> None:
    """Refuse a file that is deflated as a whole before pydicom inflates it in memory."""
    if DEFLATED in data:  # seldom elsewhere; then look properly
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise UserError(f"{path}: expected a slice that is not deflated as a whole; save it uncompressed.")


def _hounsfield(dataset: pydicom.Dataset, stored: np.ndarray, limits: Span) -> tuple[np.ndarray, Span]:
    """HU clipped to `limits` as int16, and the extremes before that."""
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    small = stored.dtype.itemsize <= 2 and slope == 1 and intercept.is_integer() and abs(intercept) <= -HU_RANGE[0]
    if not small or limits != HU_RANGE or "ModalityLUTSequence" in dataset:
        hu = np.rint(apply_modality_lut(stored, dataset))
        return np.clip(hu, *limits).astype(np.int16), (int(hu.min()), int(hu.max()))
    # The usual case without floats: clipped first, sums stay within 16 bits, or overflow on the way and come back.
    shift, possible = int(intercept), np.iinfo(stored.dtype)
    extremes = int(stored.min()), int(stored.max())
    low, high = max(HU_RANGE[0] - shift, possible.min), min(HU_RANGE[1] - shift, possible.max)
    if extremes[0] < low or extremes[1] > high:
        stored = np.clip(stored, low, high)
    return stored.astype(np.int16) + np.int16(shift), (extremes[0] + shift, extremes[1] + shift)


def _header(dataset: pydicom.Dataset, extremes: tuple[int, int], content: str) -> SliceHeader:
    def number(keyword: str) -> float | None:
        value = dataset.get(keyword)
        return None if value in (None, "") else float(value)

    return SliceHeader(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        position_mm=_numbers(dataset, "ImagePositionPatient", 3),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        pixel_spacing_mm=_numbers(dataset, "PixelSpacing", 2),
        slice_thickness_mm=number("SliceThickness"),
        spacing_between_slices_mm=number("SpacingBetweenSlices"),
        slice_location_mm=number("SliceLocation"),
        intercept=float(dataset.RescaleIntercept),
        slope=float(dataset.RescaleSlope),
        hu_min=extremes[0],
        hu_max=extremes[1],
        uid=_hash(dataset.get("SOPInstanceUID") or dataset.file_meta.get("MediaStorageSOPInstanceUID")),
        series=_hash(dataset.get("SeriesInstanceUID")),
        frame=_hash(dataset.get("FrameOfReferenceUID")),
        study=_hash(dataset.get("StudyInstanceUID")),
        person=_hash(dataset.get("PatientID")),
        transfer_syntax=dataset.file_meta.TransferSyntaxUID.name,
        content=content,
        identifying=identifying(dataset),
        synthetic=dataset.get("SyntheticData") == "YES",
        modality=str(dataset.Modality),
    )


def _numbers(dataset: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...]:
    values = tuple(float(value) for value in getattr(dataset, keyword))
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{keyword} has the value {values} where {count} numbers belong")
    return values


def _hash(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()[:16] if text else ""


def slice_normal(orientation: tuple[float, ...]) -> np.ndarray:
    """Unit vector across the slices: row direction x column direction (DICOM PS3.3 C.7.6.2.1.1), shape (3,)."""
    return np.cross(orientation[:3], orientation[3:])


def read_mask(path: Path, grey: tuple[int, int] | None = None) -> tuple[str, np.ndarray]:
    """Decode the PNG mask `path`; any nonzero value is liver, or those from `grey[0]` to `grey[1]`.

    CHAOS has 1-bit PNG; copies of it with 0/1, 0/63, 0/255, 16 bits, a palette or colours mean the same.

    Returns:
        How it is encoded, such as "1-bit 0/1" or "L 0/255" ("" without liver), and the mask as uint8 {0, 1} of shape
        (rows, columns).

    Raises:
        UserError: not a PNG, an absurd size, or more than one value beside 0.
    """
    _expect_ordinary_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=["PNG"]) as image:
                _expect_plausible_size(path, image.height, image.width)
                # Palettes become colours, and transparency says nothing.
                wanted = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "LA": "L"}.get(image.mode, image.mode)
                mode, values = image.mode, np.asarray(image.convert(wanted))
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{path}: expected a PNG mask, found none that can be read ({error}); copy it again.") from None
    if values.ndim == 3:
        values = values.max(axis=-1)
    if grey is not None:
        organ = (values >= grey[0]) & (values <= grey[1])
        return f"{mode} {grey[0]} to {grey[1]}" if organ.any() else "", organ.astype(np.uint8)
    if values.dtype == bool:
        return "1-bit 0/1" if values.any() else "", values.astype(np.uint8)
    liver = values != 0
    top = values.max()
    if top and not np.array_equal(liver, values == top):
        levels = np.unique(values)
        raise UserError(
            f"{path}: expected a mask of 0 and one other value, found {len(levels)} values from {levels[0]} to "
            f"{levels[-1]}; save it as a binary PNG without smoothing.",
            "mask_not_binary",
        )
    return f"{mode} 0/{int(top)}" if top else "", liver.astype(np.uint8)


def _expect_ordinary_file(path: Path) -> None:
    """Refuse what would block or fill the memory when opened; a missing file is an OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: expected a file, found a folder, pipe or device; remove it.")
    if status.st_size > MAX_BYTES:
        raise UserError(
            f"{path}: expected one slice of at most {MAX_BYTES >> 20} MiB, found {status.st_size >> 20} MiB; remove it."
        )


def _expect_plausible_size(path: Path, rows: int, columns: int) -> None:
    if not 0 < rows * columns <= MAX_PIXELS:
        raise UserError(
            f"{path}: expected at most {MAX_PIXELS} pixels, found {rows} x {columns}; a damaged file: copy it again."
        )
