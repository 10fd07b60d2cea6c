"""One patient's slices and masks, decoded to the files of a volume with one slice in memory at a time.

chaos_seg.data.store says where the volume lies, and when it is made again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from chaos_seg.data.dicom import HU_RANGE, SliceHeader, slice_normal
from chaos_seg.data.sources import SliceFiles
from chaos_seg.errors import UserError
from chaos_seg.files import atomic_file, write_json

FORMAT = 4  # raise when the arrays or the JSON beside them change their meaning
HEADER_BYTES = 128  # of the .npy files; numpy pads to a multiple of 64


@dataclass(frozen=True)
class Meta:
    """What is known of a decoded volume beside its pixels."""

    key: str
    shape: tuple[int, int, int]  # slices, rows, columns
    spacing_mm: tuple[float, float, float]  # z, y, x; z from ImagePositionPatient, 0 when there is one slice
    z_mm: list[float]  # position of each slice along the slice normal
    orientation: tuple[float, ...]
    first_position_mm: tuple[float, ...]
    slice_thickness_mm: float | None
    intercepts: list[float]  # the distinct ones
    synthetic: bool
    liver_pixels: list[int] | None  # per slice; None without masks
    mask_encodings: list[str] | None  # the distinct ones, such as "1-bit 0/1"


def decode_volume(slices: Sequence[SliceFiles], place: Path) -> tuple[str, list[UserError]]:
    """Write the files of a volume into `place`; returns its key and the faults, with which there is no volume."""
    labelled = slices[0].mask_path is not None
    with atomic_file(place / "hu.npy") as hu_file, atomic_file(place / "mask.npy") as mask_file:
        volume = _Volume(slices, hu_file, mask_file)
        for item in slices:
            shape = volume.add_hu(item)
            if item.mask_path is not None:
                volume.add_mask(item, item.mask_path, shape)
    if volume.faults:
        return "", volume.faults
    if not labelled:
        (place / "mask.npy").unlink()
    meta = volume.meta(labelled)
    write_json(place / "slices.json", [asdict(header) for header in volume.headers])
    write_json(place / "meta.json", asdict(meta))
    return meta.key, []


class _Volume:
    """A volume while its arrays are written: what is known of the slices so far."""

    def __init__(self, slices: Sequence[SliceFiles], hu_file: BinaryIO, mask_file: BinaryIO):
        self.slices, self.hu_file, self.mask_file = slices, hu_file, mask_file
        self.digest = hashlib.sha256(json.dumps({"format": FORMAT, "hu_range": HU_RANGE}).encode())
        self.headers: list[SliceHeader] = []
        self.liver_pixels: list[int] = []
        self.encodings: set[str] = set()
        self.faults: list[UserError] = []

    def add_hu(self, item: SliceFiles) -> tuple[int, ...] | None:
        """Returns rows and columns of the slice; None when it can't be read."""
        try:
            header, hu = item.read()
        except UserError as error:
            self.faults.append(error)
            return None
        if not self.headers:
            _write_header(self.hu_file, "<i2", (len(self.slices), *hu.shape))
            _write_header(self.mask_file, "|u1", (len(self.slices), *hu.shape))
        self.headers.append(header)
        self.digest.update(header.content.encode())
        self.hu_file.write(hu.data)
        expected = (self.headers[0].rows, self.headers[0].columns)
        if hu.shape != expected:
            self.faults.append(_size_fault(item.path, hu.shape, expected, self.slices[0].path))
        return hu.shape

    def add_mask(self, item: SliceFiles, path: Path, expected: tuple[int, ...] | None) -> None:
        """`expected` are rows and columns of its slice, where that can be read."""
        try:
            encoding, mask = item.read_mask()
            self.digest.update(item.mask_digest())
        except UserError as error:
            self.faults.append(error)
            return
        self.encodings.add(encoding)
        self.liver_pixels.append(int(np.count_nonzero(mask)))
        self.mask_file.write(mask.data)
        if expected is not None and mask.shape != expected:
            self.faults.append(_size_fault(path, mask.shape, expected, item.path))

    def meta(self, labelled: bool) -> Meta:
        first, z_mm = self.headers[0], _z_positions(self.headers)
        return Meta(
            key=self.digest.hexdigest()[:40],
            shape=(len(self.headers), first.rows, first.columns),
            spacing_mm=(_z_step(z_mm), first.pixel_spacing_mm[0], first.pixel_spacing_mm[1]),
            z_mm=z_mm,
            orientation=first.orientation,
            first_position_mm=first.position_mm,
            slice_thickness_mm=first.slice_thickness_mm,
            intercepts=sorted({header.intercept for header in self.headers}),
            synthetic=any(header.synthetic for header in self.headers),
            liver_pixels=self.liver_pixels if labelled else None,
            mask_encodings=sorted(self.encodings - {""}) if labelled else None,
        )


def _write_header(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> None:
    # A plain file rather than open_memmap: on a full disk a write fails, where a mapping would end the process.
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})


def _size_fault(path: Path, size: tuple[int, ...], expected: tuple[int, ...], like: Path) -> UserError:
    return UserError(
        f"{path}: expected {expected[0]} x {expected[1]} pixels like {like.name}, found {size[0]} x {size[1]}; "
        "restore the file that belongs to this series.",
        "mixed_sizes",
    )


def _z_positions(headers: list[SliceHeader]) -> list[float]:
    """Position of each slice along the slice normal, mm."""
    normal = slice_normal(headers[0].orientation)
    return [float(np.dot(normal, header.position_mm)) for header in headers]


def _z_step(z_mm: list[float]) -> float:
    """Distance between slices in mm, from the first and the last position as in the official evaluation."""
    return abs(z_mm[-1] - z_mm[0]) / (len(z_mm) - 1) if len(z_mm) > 1 else 0.0
