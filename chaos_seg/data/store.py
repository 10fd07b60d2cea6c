"""Decoded slices on disk: each patient is decoded once, then read slice by slice by every run and worker.

    <store>/volumes/<key>/hu.npy     int16 (slices, rows, columns), HU
    <store>/volumes/<key>/mask.npy   uint8 {0, 1}, the same shape; absent without masks
    <store>/volumes/<key>/meta.json  geometry and what the masks hold
    <store>/volumes/<key>/slices.json  the header of each slice, for the audit
    <store>/seen/<folder>.json       the key of a patient folder whose files have not changed since

The key is a hash of the files' content and of the settings that shape the arrays, so a volume is never stale and
copies of a tree share it. A folder whose names, sizes and times are as they were is not read again.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from chaos_seg.data.dicom import HU_RANGE, SliceHeader, slice_normal
from chaos_seg.data.scan import Scan
from chaos_seg.data.sources import Patient, SliceFiles, Source, labelled_patients
from chaos_seg.errors import UserError, raise_faults
from chaos_seg.files import atomic_file, locked, read_json, write_json
from chaos_seg.parallel import in_parallel

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


@dataclass(frozen=True, eq=False)
class StoredScan(Scan):
    """A decoded patient in the store. Small: it carries no pixels, so workers get it for nothing."""

    folder: Path = field(kw_only=True)
    meta: Meta = field(kw_only=True)  # what the audit asks for beside the geometry

    @classmethod
    def of(cls, patient: str, folder: Path, meta: Meta) -> "StoredScan":
        headers = _headers(folder)
        row, column = np.array(meta.orientation[3:]), np.array(meta.orientation[:3])
        labelled = meta.liver_pixels is not None
        return cls(
            name=patient,
            files=(),
            shape=meta.shape,
            origin_mm=np.array([header.position_mm for header in headers]),
            row_mm=row * meta.spacing_mm[1],
            column_mm=column * meta.spacing_mm[2],
            read=partial(_read_plane, folder / "hu.npy", "<i2", meta.shape[1:]),
            synthetic=meta.synthetic,
            read_mask=partial(_read_plane, folder / "mask.npy", "|u1", meta.shape[1:]) if labelled else None,
            liver_pixels=tuple(meta.liver_pixels) if meta.liver_pixels is not None else None,
            content=meta.key,
            folder=folder,
            meta=meta,
        )

    def headers(self) -> list[SliceHeader]:
        """What the files said of each slice."""
        return _headers(self.folder)


def _headers(folder: Path) -> list[SliceHeader]:
    listed: list[dict[str, Any]] = read_json(folder / "slices.json")
    return [SliceHeader(**{key: _as_tuple(value) for key, value in one.items()}) for one in listed]


def _read_plane(path: Path, dtype: str, shape: tuple[int, int], rank: int) -> np.ndarray:
    # Neither np.load, which parses the header each time, nor a mapping, whose pages count as memory of the process.
    pixels = np.empty(shape, dtype)
    file = os.open(path, os.O_RDONLY)
    try:
        count = os.preadv(file, [pixels.data], HEADER_BYTES + rank * pixels.nbytes)
    finally:
        os.close(file)
    if count != pixels.nbytes:
        raise OSError(errno.EIO, "the stored volume ends early; remove it and it is decoded again", str(path.parent))
    return pixels


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # JSON has no tuples


def open_patients(store: Path, source: Source, patients: Sequence[str]) -> list[StoredScan]:
    """The volumes of `patients` of the source, all of which must have masks.

    Raises:
        UserError: every fault of every patient at once, those that are not there included.
    """
    return open_volumes(store, *labelled_patients(source, patients))


def open_volumes(store: Path, folders: Iterable[Patient], faults: Sequence[UserError] = ()) -> list[StoredScan]:
    """The volumes of `folders`, which have no fault.

    Raises:
        UserError: every fault of every folder at once, after those already known.
    """
    volumes, found = decode(store, folders)
    raise_faults([*faults, *(fault for listed in found.values() for fault in listed)], "the data")
    return volumes


def decode(store: Path, folders: Iterable[Patient]) -> tuple[list[StoredScan], dict[str, list[UserError]]]:
    """The volumes of `folders`, decoding in parallel those that the store does not hold, and the faults by patient."""
    folders = list(folders)
    known = {folder.patient: _lookup(store, folder) for folder in folders}
    todo = [folder for folder in folders if known[folder.patient] is None]
    faults = {}
    built = in_parallel(partial(_build, store), todo, "Decoding patients")
    for folder, (volume, found) in zip(todo, built, strict=True):
        known[folder.patient] = volume
        if found:
            faults[folder.patient] = found
    return [volume for folder in folders if (volume := known[folder.patient]) is not None], faults


def fingerprint(scans: Iterable[Scan]) -> str:
    """One hash for the content of several patients, whatever their order."""
    lines = sorted(f"{scan.name} {scan.content}" for scan in scans)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _lookup(store: Path, folder: Patient) -> StoredScan | None:
    """The volume of a folder that is as it was when it was decoded, without opening any of its files."""
    try:
        seen = read_json(_seen_file(store, folder))
        if seen["listing"] != _listing(folder):
            return None
        return _load(store, folder.patient, seen["key"])
    except (OSError, ValueError, KeyError, TypeError):  # never decoded, or a damaged note: decode again
        return None


def _load(store: Path, patient: str, key: str) -> StoredScan:
    """Raises OSError, ValueError, KeyError or TypeError when the volume is not there or not whole."""
    place = store / "volumes" / key
    meta = read_json(place / "meta.json")
    pixels = int(np.prod(meta["shape"]))
    sizes = {"hu.npy": HEADER_BYTES + 2 * pixels}
    if meta["liver_pixels"] is not None:
        sizes["mask.npy"] = HEADER_BYTES + pixels
    whole = all((place / name).stat().st_size == size for name, size in sizes.items())
    if not whole or not (place / "slices.json").stat().st_size:
        raise ValueError(f"{place} is damaged")
    meta |= {key: tuple(meta[key]) for key in ("shape", "spacing_mm")}
    return StoredScan.of(patient, place, Meta(**meta))


def _seen_file(store: Path, folder: Patient) -> Path:
    name = hashlib.sha256(os.fsencode(folder.place.resolve())).hexdigest()[:32]
    return store / "seen" / f"{name}.json"


def _listing(folder: Patient) -> str:
    """A hash of the names, sizes and times of a patient's files: cheap, and different when a file was touched."""
    digest = hashlib.sha256(f"{FORMAT} {HU_RANGE}".encode())
    for path in folder.files():
        stat = path.stat()
        digest.update(os.fsencode(path.name))  # which need not be UTF-8
        digest.update(f" {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def _build(store: Path, folder: Patient) -> tuple[StoredScan | None, list[UserError]]:
    """Decode one patient; the volume, or the faults that forbid it."""
    seen = _seen_file(store, folder)
    unfinished = store / "volumes" / f".{seen.stem}.partial"
    with locked(store / "locks" / seen.stem):  # a second process waits here, then finds the volume made
        if (made := _lookup(store, folder)) is not None:
            return made, []
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        unfinished.mkdir(parents=True)
        try:
            slices, faults = folder.slices()
            if faults:
                return None, faults
            listing = _listing(folder)
            key, faults = _decode(slices, unfinished)
            if faults:
                return None, faults
            _take_place(unfinished, store, key)
        except OSError as error:  # no permission, a link to nothing, a damaged disk
            if error.filename is None or Path(error.filename).is_relative_to(store):
                raise
            fault = f"{error.filename}: expected a file, but {error.strerror}; restore it or its permissions."
            return None, [UserError(fault)]
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        write_json(seen, {"listing": listing, "key": key})
    return _load(store, folder.patient, key), []


def _take_place(unfinished: Path, store: Path, key: str) -> None:
    """Give a finished volume its name, unless the same content from another folder has it."""
    place = store / "volumes" / key
    try:
        unfinished.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        try:
            _load(store, "", key)
        except (OSError, ValueError, KeyError, TypeError):  # damaged after it was made
            shutil.rmtree(place)
            unfinished.rename(place)


def _decode(slices: Sequence[SliceFiles], place: Path) -> tuple[str, list[UserError]]:
    """Write the files of a volume into `place` with one slice in memory at a time; returns its key and the faults."""
    digest = hashlib.sha256(json.dumps({"format": FORMAT, "hu_range": HU_RANGE}).encode())
    faults: list[UserError] = []
    headers: list[SliceHeader] = []
    liver: list[int] = []
    encodings: set[str] = set()
    labelled = slices[0].mask_path is not None
    with atomic_file(place / "hu.npy") as hu_file, atomic_file(place / "mask.npy") as mask_file:
        for item in slices:
            hu = mask = None
            try:
                header, hu = item.read()
                if not headers:
                    _write_header(hu_file, "<i2", (len(slices), *hu.shape))
                    _write_header(mask_file, "|u1", (len(slices), *hu.shape))
                headers.append(header)
                digest.update(header.content.encode())
                hu_file.write(hu.data)
                expected = (headers[0].rows, headers[0].columns)
                if hu.shape != expected:
                    faults.append(_size_fault(item.path, hu.shape, expected, slices[0].path))
            except UserError as error:
                faults.append(error)
            if item.mask_path is not None:
                try:
                    encoding, mask = item.read_mask()
                    digest.update(item.mask_digest())
                    encodings.add(encoding)
                    liver.append(int(np.count_nonzero(mask)))
                    mask_file.write(mask.data)
                    if hu is not None and mask.shape != hu.shape:
                        faults.append(_size_fault(item.mask_path, mask.shape, hu.shape, item.path))
                except UserError as error:
                    faults.append(error)
    if faults:
        return "", faults
    key = digest.hexdigest()[:40]
    if not labelled:
        (place / "mask.npy").unlink()
    first, z_mm = headers[0], _z_positions(headers)
    meta = Meta(
        key=key,
        shape=(len(headers), first.rows, first.columns),
        spacing_mm=(_z_step(z_mm), first.pixel_spacing_mm[0], first.pixel_spacing_mm[1]),
        z_mm=z_mm,
        orientation=first.orientation,
        first_position_mm=first.position_mm,
        slice_thickness_mm=first.slice_thickness_mm,
        intercepts=sorted({header.intercept for header in headers}),
        synthetic=any(header.synthetic for header in headers),
        liver_pixels=liver if labelled else None,
        mask_encodings=sorted(encodings - {""}) if labelled else None,
    )
    write_json(place / "slices.json", [asdict(header) for header in headers])
    write_json(place / "meta.json", asdict(meta))
    return key, []


def _write_header(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> None:
    # A plain file rather than open_memmap: on a full disk a write fails, where a mapping would end the process.
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})


def _size_fault(path: Path, found: tuple[int, ...], expected: tuple[int, ...], like: Path) -> UserError:
    return UserError(
        f"{path}: expected {expected[0]} x {expected[1]} pixels like {like.name}, found {found[0]} x {found[1]}; "
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
