"""One DICOM CT slice or one PNG mask from a file to an array."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut

from chaos_seg.errors import UserError

# CHAOS has pixels of up to 49,944 HU in the corners of some patients and -2048 as padding. 3071 HU is the end of the
# 12-bit range of CT; int16 holds what is left.
HU_RANGE = (-2048, 3071)


@dataclass(frozen=True)
class SliceHeader:
    """What the geometry and the checks need of one slice; millimetres in DICOM patient coordinates (LPS)."""

    rows: int
    columns: int
    position_mm: tuple[float, ...]  # ImagePositionPatient: centre of the first pixel
    orientation: tuple[float, ...]  # ImageOrientationPatient: direction of a row, then of a column
    pixel_spacing_mm: tuple[float, ...]  # PixelSpacing: between rows, between columns
    slice_thickness_mm: float | None  # SliceThickness; not the distance between slices, which may overlap
    intercept: float  # RescaleIntercept
    synthetic: bool  # SyntheticData (0008,001C)


def read_slice(path: Path) -> tuple[SliceHeader, np.ndarray]:
    """Decode the DICOM file `path` into its header and HU.

    Returns:
        The header and int16 HU of shape (rows, columns), clipped to HU_RANGE. HU = slope * stored + intercept
        (DICOM PS3.3 C.11.1, Modality LUT), with the rescale of this very file: it differs between patients.

    Raises:
        UserError: not DICOM, not CT, a missing attribute, or pixels that can't be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's remarks on values that don't matter here
            dataset = pydicom.dcmread(path)
            modality = dataset.get("Modality")
            if modality != "CT":
                raise UserError(f"{path}: expected Modality CT, found {modality}; remove this series from the folder.")
            header = _header(dataset)
            hu = apply_modality_lut(dataset.pixel_array, dataset)
    except UserError:
        raise
    except InvalidDicomError:
        raise UserError(f"{path}: expected a DICOM file, found something else; copy it again.") from None
    except (AttributeError, KeyError) as error:
        raise UserError(f"{path}: expected a complete CT slice, but {error}; copy it again.") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = "copy it again"
        if "plugin" in reason or "decompress" in reason:
            hint += ", or install the codecs of compressed DICOM with pip install python-gdcm"
        raise UserError(f"{path}: the DICOM slice can't be read ({reason.rstrip('.:')}); {hint}.") from None
    if hu.ndim != 2:
        raise UserError(f"{path}: expected one grey slice, found pixel data of shape {hu.shape}; remove it.")
    return header, np.clip(np.rint(hu), *HU_RANGE).astype(np.int16)


def _header(dataset: pydicom.Dataset) -> SliceHeader:
    thickness = dataset.get("SliceThickness")
    return SliceHeader(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        position_mm=tuple(float(v) for v in dataset.ImagePositionPatient),
        orientation=tuple(float(v) for v in dataset.ImageOrientationPatient),
        pixel_spacing_mm=tuple(float(v) for v in dataset.PixelSpacing),
        slice_thickness_mm=None if thickness is None else float(thickness),
        intercept=float(dataset.RescaleIntercept),
        synthetic=dataset.get("SyntheticData") == "YES",
    )


def slice_normal(orientation: tuple[float, ...]) -> np.ndarray:
    """Unit vector across the slices: row direction x column direction (DICOM PS3.3 C.7.6.2.1.1), shape (3,)."""
    return np.cross(orientation[:3], orientation[3:])


def read_mask(path: Path) -> np.ndarray:
    """Decode the PNG mask `path` into uint8 {0, 1} of shape (rows, columns); any nonzero value is liver.

    CHAOS has 1-bit PNG; copies of it with 0/1, 0/63, 0/255, 16 bits, a palette or colours mean the same.

    Raises:
        UserError: not an image, or more than one value beside 0.
    """
    try:
        with Image.open(path) as image:
            # Palettes become colours, and transparency says nothing.
            wanted = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "LA": "L"}.get(image.mode, image.mode)
            values = np.asarray(image.convert(wanted))
    except Exception as error:
        raise UserError(f"{path}: expected a PNG mask, found none that can be read ({error}); copy it again.") from None
    if values.ndim == 3:
        values = values.max(axis=-1)
    levels = np.unique(values)
    if np.count_nonzero(levels) > 1:
        raise UserError(
            f"{path}: expected a mask of 0 and one other value, found {len(levels)} values from {levels[0]} to "
            f"{levels[-1]}; save it as a binary PNG without smoothing."
        )
    return (values != 0).astype(np.uint8)
