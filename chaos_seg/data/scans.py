"""Scans to predict: the CT series in any folder of DICOM, a CHAOS tree, zips or NIfTI files, and what became of every
other file.
"""

import errno
import hashlib
import logging
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from tqdm import tqdm

from chaos_seg.data.copies import content_hash
from chaos_seg.data.nifti import is_label_map, is_nifti, nifti_scan
from chaos_seg.data.scan import Scan
from chaos_seg.data.scan_names import folder_name, folder_names, name_below
from chaos_seg.data.series import Series, scan_of, series_of, series_uids
from chaos_seg.data.slices import LeftOut, Slice, read_place
from chaos_seg.data.sources.chaos import PatientFolder, find_patients, natural_key, pair_slices
from chaos_seg.data.unzip import unzip
from chaos_seg.errors import UserError, printable, raise_faults

log = logging.getLogger(__name__)

OTHER_VOLUMES = (
    *(".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mnc", ".iso", ".7z", ".rar"),
    *(".tar", ".gz", ".tgz"),
)
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".part")


@dataclass(frozen=True)
class FoundScan:
    """A scan that was found and not yet looked at: open() tells what is wrong with it.

    `identity` is a hash of the content of its files, and so another one for another scan.
    """

    name: str
    patient: str
    identify: Callable[[], str]
    files: tuple[Path, ...]
    about: str  # to choose by
    read: Callable[[str], Scan]  # takes the name

    @cached_property
    def identity(self) -> str:
        return self.identify()

    def open(self) -> Scan:
        """Raises UserError: what was found makes no volume."""
        return self.read(self.name)


@dataclass(frozen=True)
class Search:
    """What lies below an input: every file is one of a scan's, or left out with a reason."""

    scans: list[FoundScan]
    left_out: list[LeftOut]

    def reasons(self) -> list[str]:
        """A line for each reason to leave files out; those first by which slices may be lost."""
        groups: dict[tuple[bool, str], list[Path]] = {}
        for item in self.left_out:
            groups.setdefault((not item.lost, item.reason), []).append(item.path)
        return [
            printable(f"{len(paths)} left out, {reason}: {paths[0].name}") + (" first" if len(paths) > 1 else "")
            for (_, reason), paths in sorted(groups.items())
        ]


def find_scans(place: Path, unpacked: Path | None = None, setting: str = "input", modality: str = "CT") -> Search:
    """The scans in a file or folder, which are read and never written to.

    A CHAOS tree gives its patients, slices in file-name order; another folder every CT series at any depth, slices
    from the head down, and every NIfTI.

    Args:
        place: a folder, a NIfTI file, a zip or one DICOM file.
        unpacked: a folder where zips are unpacked; without it they are left out.
        setting: that names the place, for what is wrong with it.
        modality: of the DICOM, CT or MR; a CHAOS tree of MR is searched as any folder. A NIfTI does not tell its own.

    Raises:
        UserError: nothing there, or no scan in it.
    """
    if not place.exists():
        raise UserError(f"{setting}={place}: expected a folder or a file, found none; name the folder of a scan.")
    place = place.resolve()
    left_out: list[LeftOut] = []
    scans, zips = _scans_below(place, place, left_out, modality)
    for path in zips:
        if unpacked is None:
            left_out.append(LeftOut(path, "a zip: unpack it", lost=True))
            continue
        try:
            name = name_below(path, place).removesuffix(".zip")
            root = unpacked / folder_name(name, [p.name for p in unpacked.glob("*")])
            unzip(path, root)
            more, nested = _scans_below(root, unpacked, left_out, modality)
        except UserError as error:
            left_out.append(LeftOut(path, str(error).removeprefix(f"{path}: "), lost=True))
            continue
        scans += more
        left_out += [LeftOut(inner, "a zip in a zip: unpack it yourself", lost=True) for inner in nested]
    names = folder_names([scan.name for scan in scans])
    search = Search([replace(scan, name=name) for scan, name in zip(scans, names, strict=True)], left_out)
    if not scans:
        raise UserError(
            f"{setting}={place}: expected a {modality} series or a NIfTI file, found none; name another folder, file "
            "or zip.",
            faults=search.reasons(),
        )
    return search


def choose(scans: Sequence[FoundScan], names: Sequence[str] | None) -> list[FoundScan]:
    """The scans of these names, or `all`; None takes all when no patient has several.

    Raises:
        UserError: a name that is none of theirs, or several series of a patient without a choice.
    """
    choices = [f"series={scan.name}: {scan.about}" for scan in scans]
    if unknown := [name for name in names or () if name != "all" and name not in {scan.name for scan in scans}]:
        raise UserError(f"series={','.join(unknown)}: expected all, or names of what was found:", faults=choices)
    if names and "all" not in names:
        return [scan for scan in scans if scan.name in names]
    patients = Counter(scan.patient for scan in scans)
    if not names and max(patients.values()) > 1:
        raise UserError(
            "Expected one CT series a patient, found several; choose with series=NAME, series=[NAME,NAME] or all:",
            faults=[text for text, scan in zip(choices, scans, strict=True) if patients[scan.patient] > 1],
        )
    return list(scans)


def _scans_below(root: Path, place: Path, left_out: list[LeftOut], modality: str) -> tuple[list[FoundScan], list[Path]]:
    """The scans and the zips below `root`; scans are named by where they lie below `place`."""
    if modality == "CT" and any((root / subset / "CT").is_dir() for subset in ("Train_Sets", "Test_Sets")):
        scans = [_chaos_patient(folder) for folder in find_patients(root).values()]
        taken = {path for scan in scans for path in scan.files}
        left_out += [_beside_chaos(path) for path in _files(root, left_out) if path not in taken]
        return scans, []
    slices, scans, zips, lost = list[Slice](), [], [], len(left_out)
    paths = sorted(_files(root, left_out), key=lambda path: natural_key(str(path)))
    for path in tqdm(paths, "Looking at files", disable=None, leave=False):
        if path.name.startswith("."):
            left_out.append(LeftOut(path, "a hidden file"))
        elif is_nifti(path):
            scans += _nifti(path, place, left_out, modality)
        elif isinstance(item := read_place(path, modality), Slice):
            slices.append(item)
        elif item is not None:
            left_out.append(item)
        elif zipfile.is_zipfile(path):
            zips.append(path)
        elif not any(head := _head(path)):
            left_out.append(LeftOut(path, "an empty or zeroed file", lost=True))
        elif path.name.lower().endswith((*OTHER_VOLUMES, *COMPRESSED)) or head.startswith(b"PK\3\4"):
            left_out.append(LeftOut(path, "a format that is not read: save it as DICOM or .nii.gz", lost=True))
        else:
            left_out.append(LeftOut(path, "neither DICOM nor NIfTI"))
    volumes, more = series_of(slices)
    left_out += more
    damaged = [item for item in left_out[lost:] if item.lost]
    return _dicom(volumes, place, damaged) + scans, zips


def _beside_chaos(path: Path) -> LeftOut:
    """Why a file of a CHAOS tree that training does not read is left out."""
    if path.name.startswith("."):
        return LeftOut(path, "a hidden file")
    item, left = read_place(path), [LeftOut(path, "no CT slice of a CHAOS tree")]
    volume = isinstance(item, Slice) or (is_nifti(path) and _nifti(path, path.parent, left, "CT"))
    if volume or (path.suffix == ".zip" and not path.name.startswith("CHAOS_")):
        return LeftOut(path, "of a CHAOS tree DICOM_anon/*.dcm of patients is read: give it by itself", lost=True)
    return item if isinstance(item, LeftOut) else left[-1]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(256)
    except OSError:
        return b"?"  # read_place() has said it


def _files(root: Path, left_out: list[LeftOut]) -> Iterator[Path]:
    """Every ordinary file below `root`, through links too, each folder once."""
    if root.is_file():
        yield root
        return
    seen: set[tuple[int, int]] = set()

    def unreadable(error: OSError) -> None:
        left_out.append(LeftOut(Path(str(error.filename)), f"can't be read ({error.strerror})", lost=True))

    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        if not os.access(folder, os.X_OK):  # its names can be read, but nothing of it
            folders.clear()
            unreadable(PermissionError(errno.EACCES, "Permission denied", folder))
            continue
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            left_out.append(LeftOut(Path(folder), "a folder that was met before, by a link"))
            continue
        seen.add((status.st_dev, status.st_ino))
        for path in (Path(folder, name) for name in sorted(names)):
            if path.is_file():
                yield path
            else:
                left_out.append(LeftOut(path, "a link to nowhere, a pipe or a device", lost=path.is_symlink()))


def _chaos_patient(folder: PatientFolder) -> FoundScan:
    """A patient of a CHAOS tree, exactly the slices and the order that training reads."""
    pairs, faults = pair_slices(replace(folder, mask_dir=None))
    files = tuple(pair.path for pair in pairs)
    identify, read = partial(_named_content, files), partial(_read_chaos, folder.dicom_dir, files, faults)
    return FoundScan(folder.patient, folder.patient, identify, files, f"{len(files)} slices", read)


def _read_chaos(place: Path, files: Sequence[Path], faults: Sequence[UserError], name: str) -> Scan:
    raise_faults(faults, place)
    slices = []
    for path in files:
        item = read_place(path)
        if not isinstance(item, Slice):
            raise UserError(f"{path}: expected a CT slice, found {item.reason if item else 'no DICOM file'}.")
        slices.append(item)
    if len(series := series_uids(slices)) > 1:
        raise UserError(
            f"{place}: expected one series of one patient, found {len(series)} by PatientID, "
            "StudyInstanceUID or SeriesInstanceUID; give each a folder of its own."
        )
    return scan_of(name, slices, by_name=True)


def _named_content(files: Sequence[Path]) -> str:
    return _hash([(path.name, content_hash(path)) for path in files])


def _dicom(volumes: Sequence[Series], place: Path, damaged: Sequence[LeftOut]) -> list[FoundScan]:
    """Series as scans, named by their folder, and by number where a folder has several."""
    folders = [name_below(Path(os.path.commonpath([item.path.parent for item in v.slices])), place) for v in volumes]
    scans = []
    for volume, folder in zip(volumes, folders, strict=True):
        name, first = folder, volume.slices[0]
        if folders.count(folder) > 1:
            name += f"_series{first.number}" if first.number else ""
            name += f"_{volume.part}" if volume.part else ""
        around = {item.path.parent for item in volume.slices}
        beside = [item.path.name for item in damaged if item.path.parent in around]
        notes = list(volume.notes)
        if beside:
            notes.append(f"{len(beside)} files beside its slices can't be read, {beside[0]} first")
        files = tuple(item.path for item in volume.slices)
        identify, read = partial(_content, files), partial(_read_series, volume=volume, notes=notes)
        scans.append(FoundScan(name, volume.patient, identify, files, volume.description, read))
    return scans


def _content(files: Sequence[Path]) -> str:
    """Not of names and times, since pixels and headers may be mended in place."""
    return _hash(sorted(content_hash(path) for path in files))


def _read_series(name: str, volume: Series, notes: Sequence[str]) -> Scan:
    if volume.refusal:
        raise UserError(f"{volume.slices[0].path.parent}: {volume.refusal}.")
    return scan_of(name, volume.slices, notes=notes)


def _nifti(path: Path, place: Path, left_out: list[LeftOut], modality: str) -> list[FoundScan]:
    name = name_below(path, place)
    name = name[: name.lower().rindex(".nii")]
    try:
        if is_label_map(path):
            left_out.append(LeftOut(path, "a label map or an 8-bit picture, whose few whole numbers are no HU"))
            return []
    except UserError as error:
        reason = str(error)

        def refused(_: str) -> Scan:
            raise UserError(reason)

        return [FoundScan(name, name, str, (path,), "a NIfTI that can't be read", refused)]
    read = partial(nifti_scan, path=path, modality=modality)
    return [FoundScan(name, name, partial(content_hash, path), (path,), "a NIfTI", read)]


def _hash(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()
