"""What one DICOM file says of itself: a slice of a CT volume with its place, or why it is none."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from chaos_seg.data.dicom import looks_like_dicom, read_header
from chaos_seg.errors import UserError

SAME = 1e-3  # directions and spacings that differ by less are the same
SAME_MM = 0.01  # positions that differ by less are the same
DICOMDIR = "1.2.840.10008.1.3.10"
MIN_SPACING_MM, MAX_SPACING_MM, MAX_PLACE_MM = 1e-3, 1e3, 1e6  # beyond is damage


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is in no scan, and why; `lost` when it may hold slices all the same."""

    path: Path
    reason: str
    lost: bool = False
    modality: str = ""  # of DICOM that is of another


@dataclass(frozen=True)
class Slice:
    """What one DICOM file says of itself; millimetres in DICOM patient coordinates (LPS)."""

    path: Path
    instance: str  # SOPInstanceUID, or the one of the file's meta information
    patient: str  # PatientID
    name: str  # PatientName
    study: str
    series: str
    frame: str  # FrameOfReferenceUID
    number: str  # SeriesNumber
    description: str  # SeriesDescription
    syntax: str  # TransferSyntaxUID
    position_mm: np.ndarray  # (3,)
    orientation: np.ndarray  # (6,), unit vectors along a row and along a column
    spacing_mm: np.ndarray  # (2,), between rows and between columns
    size: tuple[int, int]  # rows, columns
    thickness_mm: float  # 0 when it says none
    normal: np.ndarray  # unit vector across the slice, towards the head, the back or the left, (3,)
    times: tuple[str, ...]  # values of PHASES, "" where it says none
    synthetic: bool
    modality: str = "CT"

    @property
    def z_mm(self) -> float:
        return float(self.normal @ self.position_mm)

    def same_geometry(self, other: "Slice") -> bool:
        """Whether both have one orientation, spacing and size, wherever they lie."""
        turned = np.abs(self.orientation - other.orientation).max()
        scaled = np.abs(self.spacing_mm - other.spacing_mm).max()
        return bool(self.size == other.size and turned <= SAME and scaled <= SAME)


# What tells the acquisitions or time points of one series apart; InstanceNumber does so by starting anew along z.
PHASES = (
    *("AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "InstanceNumber", "AcquisitionTime"),
    "ContentTime",
)


def read_place(path: Path, modality: str = "CT") -> Slice | LeftOut | None:
    """What a file says of itself, or why it is no slice of a volume of `modality`; None for what is not DICOM."""
    try:
        with path.open("rb") as file:
            if not looks_like_dicom(file.read(140)) and path.suffix.lower() != ".dcm":
                return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = read_header(path)
            return _slice(path, header, modality)
    except UserError as error:
        return LeftOut(path, str(error).removeprefix(f"{path}: "), lost=True)
    except OSError as error:
        return LeftOut(path, f"can't be read ({error.strerror or error})", lost=True)
    except Exception as error:  # damaged bytes raise anything in pydicom
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return LeftOut(path, f"damaged DICOM ({reason:.100})", lost=True)


def _slice(path: Path, header: pydicom.Dataset, modality: str) -> Slice | LeftOut:
    if left_out := _no_slice(path, header, modality):
        return left_out
    if (place := _place(header)) is None:
        return LeftOut(
            path,
            "no ImagePositionPatient, ImageOrientationPatient, PixelSpacing or size that can be used to place a mask, "
            f"{_of_series(header)}; export it again",
            lost=True,
        )
    position, orientation, spacing, size = place
    thickness = _numbers(header, "SliceThickness")
    return Slice(
        path=path,
        instance=_text(header, "SOPInstanceUID") or _text(header.file_meta, "MediaStorageSOPInstanceUID"),
        patient=_text(header, "PatientID"),
        name=_text(header, "PatientName"),
        study=_text(header, "StudyInstanceUID"),
        series=_text(header, "SeriesInstanceUID"),
        frame=_text(header, "FrameOfReferenceUID"),
        number=_text(header, "SeriesNumber"),
        description=_text(header, "SeriesDescription"),
        syntax=_text(header.file_meta, "TransferSyntaxUID"),
        position_mm=position,
        orientation=orientation,
        spacing_mm=spacing,
        size=size,
        thickness_mm=float(thickness[0]) if len(thickness) == 1 and _is_spacing(thickness) else 0.0,
        normal=_normal(orientation),
        times=tuple(_text(header, key) for key in PHASES),
        synthetic=_text(header, "SyntheticData") == "YES",
        modality=modality,
    )


def _no_slice(path: Path, header: pydicom.Dataset, wanted: str) -> LeftOut | None:
    """Why a file is no single grey slice in HU, by what it calls itself; None when it is one."""
    if str(header.file_meta.get("MediaStorageSOPClassUID", "")) == DICOMDIR or "DirectoryRecordSequence" in header:
        return LeftOut(path, "an index of other files (DICOMDIR)")
    modality, kind = _text(header, "Modality"), [str(value) for value in _values(header, "ImageType")]
    if not modality:
        damaged = "Rows" in header or "SOPClassUID" not in header
        return LeftOut(path, "damaged DICOM: it has no Modality" if damaged else "DICOM that is no image", lost=damaged)
    series = _of_series(header)
    if modality != wanted:
        return LeftOut(path, f"no {wanted} but {modality:.16} {series}", modality=modality)
    if "LOCALIZER" in kind:
        return LeftOut(path, f"a scout (LOCALIZER) {series}")
    if "ImagePositionPatient" not in header and "SECONDARY" in kind:
        return LeftOut(path, f"a page or picture without a place in the patient {series}")
    if (unit := _text(header, "RescaleType")) not in ("", "HU", "US") and wanted == "CT":  # US: unspecified
        return LeftOut(path, f"no HU but {unit:.16} {series}", lost=True)
    if (_whole(header, "NumberOfFrames", 1), _whole(header, "SamplesPerPixel", 1)) != (1, 1):
        return LeftOut(
            path, f"several frames or colours in one file {series}; export it as single grey slices", lost=True
        )
    return None


def _of_series(header: pydicom.Dataset) -> str:
    return f"of series {_text(header, 'SeriesNumber') or 'without a number'} {_text(header, 'SeriesDescription')!r}"


def _place(header: pydicom.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]] | None:
    """Position, orientation, spacing and size as Slice has them; None unless all can be used to place a mask."""
    geometry = [_numbers(header, key) for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")]
    position, orientation, spacing = geometry
    size = _whole(header, "Rows", 0), _whole(header, "Columns", 0)
    if [len(values) for values in geometry] != [3, 6, 2] or not np.isfinite(np.concatenate(geometry)).all():
        return None
    axes = orientation.reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=SAME) or min(size) <= 0:
        return None
    if not _is_spacing(spacing) or np.abs(position).max() >= MAX_PLACE_MM:
        return None
    return position, orientation, spacing, size


def _is_spacing(values_mm: np.ndarray) -> bool:
    return bool(MIN_SPACING_MM < values_mm.min() <= values_mm.max() < MAX_SPACING_MM)


def _normal(orientation: np.ndarray) -> np.ndarray:
    normal = np.cross(orientation[:3], orientation[3:])
    return normal * np.sign(normal[np.abs(normal).argmax()])


def _values(header: pydicom.Dataset, key: str) -> list[Any]:
    value = header.get(key)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, pydicom.multival.MultiValue | list | tuple) else [value]


def _text(header: pydicom.Dataset, key: str) -> str:
    return "\\".join(str(value) for value in _values(header, key)).strip("\0 ")


def _numbers(header: pydicom.Dataset, key: str) -> np.ndarray:
    """float64; empty where the values are no numbers."""
    try:
        return np.array([float(value) for value in _values(header, key)])
    except (TypeError, ValueError):
        return np.zeros(0)


def _whole(header: pydicom.Dataset, key: str, absent: int) -> int:
    numbers = _numbers(header, key)
    return int(numbers[0]) if len(numbers) == 1 and np.isfinite(numbers[0]) else absent
