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
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chaos_seg.data.decoded import FORMAT, HEADER_BYTES, Meta, decode_volume
from chaos_seg.data.dicom import HU_RANGE, SliceHeader
from chaos_seg.data.scan import Scan
from chaos_seg.data.sources import Patient, Source, labelled_patients
from chaos_seg.errors import UserError, raise_faults
from chaos_seg.files import locked, read_json, write_json
from chaos_seg.parallel import in_parallel


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
    headers: list[dict[str, Any]] = read_json(folder / "slices.json")
    return [SliceHeader(**{key: _as_tuple(value) for key, value in one.items()}) for one in headers]


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
    volumes, faults_of = decode(store, folders)
    raise_faults([*faults, *(fault for listed in faults_of.values() for fault in listed)], "the data")
    return volumes


def decode(store: Path, folders: Iterable[Patient]) -> tuple[list[StoredScan], dict[str, list[UserError]]]:
    """The volumes of `folders`, decoding in parallel those that the store does not hold, and the faults by patient."""
    folders = list(folders)
    scan_of = {folder.patient: _lookup(store, folder) for folder in folders}
    todo = [folder for folder in folders if scan_of[folder.patient] is None]
    faults = {}
    built = in_parallel(partial(_build, store), todo, "Decoding patients")
    for folder, (volume, faults_of_one) in zip(todo, built, strict=True):
        scan_of[folder.patient] = volume
        if faults_of_one:
            faults[folder.patient] = faults_of_one
    return [volume for folder in folders if (volume := scan_of[folder.patient]) is not None], faults


def data_hash(scans: Iterable[Scan]) -> str:
    """One hash for the content of several patients, whatever their order."""
    lines = sorted(f"{scan.name} {scan.content}" for scan in scans)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _lookup(store: Path, folder: Patient) -> StoredScan | None:
    """The volume of a folder that is as it was when it was decoded, without opening any of its files."""
    try:
        note = read_json(_note_of(store, folder))
        if note["listing"] != _listing(folder):
            return None
        return _load(store, folder.patient, note["key"])
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


def _note_of(store: Path, folder: Patient) -> Path:
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
    note = _note_of(store, folder)
    unfinished = store / "volumes" / f".{note.stem}.partial"
    with locked(store / "locks" / note.stem):  # a second process waits here, then finds the volume made
        if (made := _lookup(store, folder)) is not None:
            return made, []
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        unfinished.mkdir(parents=True)
        try:
            slices, faults = folder.slices()
            if faults:
                return None, faults
            listing = _listing(folder)
            key, faults = decode_volume(slices, unfinished)
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
        write_json(note, {"listing": listing, "key": key})
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
