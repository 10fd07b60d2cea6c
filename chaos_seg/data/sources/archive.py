"""The challenge's zips: what each must be, and its CT patients put in place.

    <root>/{Train_Sets,Test_Sets}/CT/<id>         a patient, renamed here when all of its files are written
    <root>/{Train_Sets,Test_Sets}/CT/.partial     patients on their way here; whatever a killed process left is removed
    <root>/{Train_Sets,Test_Sets}/CT/.replaced    patients that overwrite has moved out of the way
    <root>/.unpacked/<md5>.json                   the names and sizes that a zip was unpacked to

Whatever is killed here ends in the same state when it is run again.
"""

import hashlib
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from chaos_seg.data.sources.chaos import natural_key
from chaos_seg.errors import UserError
from chaos_seg.files import locked, read_json, write_bytes, write_json

MAX_FILE = 64 << 20  # bytes; a CT slice of CHAOS has half a MiB
MAX_RATIO = 64  # of what is unpacked to the zip itself; CHAOS has about 2
DISK_BLOCK = 4096  # what a file may take beyond its size

SETS = ("Train_Sets", "Test_Sets")
FILE = r"(?:DICOM_anon|Ground)/[^/.][^/]*\.(?i:dcm|png)"  # without the ._* files that macOS adds
CT_FILE = re.compile(rf"(?:.*/)?((?:{'|'.join(SETS)})/CT/[^/.][^/]*)/({FILE})")
UNSAFE = re.compile(r"/|[A-Za-z]:|(?:.*/)?\.\.(?:/|$)|.*[\\\x00-\x1f\x7f-\x9f]", re.DOTALL)

Patients = dict[str, dict[str, zipfile.ZipInfo]]  # {"Train_Sets/CT/1": {"DICOM_anon/a.dcm": ...}}


@dataclass
class Archive:
    """A zip of the challenge and what it must be."""

    url: str
    bytes: int
    md5: str


def unpack(archive: Path, root: Path, overwrite: bool = False) -> list[str]:
    """Put the CT patients of a CHAOS zip below `root`; the rest of it is left out.

    A patient that is there with the same names and sizes stays as it is.

    Args:
        archive: the zip.
        root: what will hold Train_Sets and Test_Sets; made if need be.
        overwrite: replace patients that are there with other files.

    Returns:
        The zip's patients in natural order, as "Train_Sets/CT/1".

    Raises:
        UserError: not a whole and harmless CHAOS zip, other files in a patient's place, or too little disk space.
    """
    with _opened(archive) as zip_file:
        patients = _ct_patients(archive, zip_file)
        with locked(root / ".unpacked" / "lock"):
            _unpack_patients(archive, zip_file, patients, root, overwrite)
    return list(patients)


def unpacked(root: Path, archive: Archive) -> bool:
    """Whether all that `archive` holds is below `root`, by the names and sizes noted when it was unpacked."""
    try:
        patients: dict[str, dict[str, int]] = read_json(_receipt(root, archive.md5))["patients"]
        return all(_sizes(root / place) == sizes for place, sizes in patients.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # never unpacked, or a damaged receipt
        return False


def md5_of(path: Path) -> str:
    """MD5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _receipt(root: Path, md5: str) -> Path:
    return root / ".unpacked" / f"{md5.lower()}.json"


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The zip for reading; what zipfile raises for one that is damaged, or packed in a way that it does not know
    (NotImplementedError), becomes a UserError.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: expected a zip of the CHAOS challenge, found no such file; name another.")
    try:
        with zipfile.ZipFile(archive) as zip_file:
            yield zip_file
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        why = str(error) or "it ends early"
        raise UserError(f"{archive}: expected a whole zip, found a damaged one ({why}); download it again.") from error


def _ct_patients(archive: Path, zip_file: zipfile.ZipFile) -> Patients:
    """The CT files of each patient, in natural order.

    Raises UserError for a zip that holds none, or that could do harm: all is judged before anything is written.
    """
    patients: Patients = {}
    seen: set[str] = set()
    total = 0
    for info in zip_file.infolist():
        name = info.orig_filename  # ZipInfo.filename ends at the first NUL
        if info.header_offset < 0:
            raise zipfile.BadZipFile("its beginning is missing")
        match = CT_FILE.fullmatch(name)
        if "__MACOSX" in name.split("/"):
            match = None
        fault = entry_fault(info)
        if match:
            target = f"{match[1]}/{match[2]}".casefold()  # as a disk that does not tell a.dcm from A.dcm sees it
            if target in seen:
                fault = "comes twice"
            if info.file_size > MAX_FILE:
                fault = f"has {info.file_size:,} bytes, more than {MAX_FILE:,}"
            seen.add(target)
            patients.setdefault(match[1], {})[match[2]] = info
            total += info.file_size
        if fault:
            raise UserError(
                f"{archive}: expected the challenge's zip, but its entry {name!r} {fault}; download it again."
            )
    limit = MAX_RATIO * archive.stat().st_size
    if total > limit:
        raise UserError(
            f"{archive}: expected at most {MAX_RATIO} times the zip's size, {limit:,} bytes, found {total:,} bytes in "
            "its entries; download it again."
        )
    if not patients:
        raise UserError(
            f"{archive}: expected Train_Sets/CT/<id>/DICOM_anon/*.dcm in it, found no CT patient among "
            f"{len(zip_file.infolist())} entries; name a CHAOS zip with CT."
        )
    return {place: patients[place] for place in sorted(patients, key=natural_key)}


def entry_fault(info: zipfile.ZipInfo) -> str | None:
    """Why an entry of a zip is not unpacked."""
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 when the zip was not made on Unix
    if UNSAFE.match(info.orig_filename):
        return "has an unsafe name"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or another special file"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others fail in ways of their own
        return f"is compressed by method {info.compress_type}, not stored or deflated"
    return None


def _unpack_patients(archive: Path, zip_file: zipfile.ZipFile, patients: Patients, root: Path, overwrite: bool) -> None:
    sizes = {place: {name: info.file_size for name, info in files.items()} for place, files in patients.items()}
    for subset in SETS:
        _tidy(root / subset / "CT")
    todo = [place for place in patients if _sizes(root / place) != sizes[place]]
    taken = [place for place in todo if (root / place).exists() or (root / place).is_symlink()]
    if taken and not overwrite:
        raise UserError(
            f"{root}: expected no patients or those of {archive.name}, found other files in {', '.join(taken)}; "
            "give overwrite=true to replace them, or name another folder."
        )
    needed = sum(size + DISK_BLOCK for place in todo for size in sizes[place].values())
    if needed > (free := shutil.disk_usage(root).free):
        raise UserError(
            f"{root}: expected {needed / 1e6:,.0f} MB of free disk space for {archive.name}, found "
            f"{free / 1e6:,.0f} MB; free some or name a folder on another disk."
        )
    total = sum(len(sizes[place]) for place in todo)
    with tqdm(total=total, desc="Unpacking", unit="file", disable=None if todo else True) as bar:
        for place in todo:
            _unpack_patient(zip_file, patients[place], root / place, bar)
    write_json(_receipt(root, md5_of(archive)), {"archive": archive.name, "patients": sizes})


def _sizes(folder: Path) -> dict[str, int]:
    """The size of each DICOM file and mask of a patient, as {"DICOM_anon/a.dcm": 525412}; empty without folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.glob("*/*") if path.is_file()}
    return {name: path.stat().st_size for name, path in files.items() if re.fullmatch(FILE, name)}


def _tidy(ct: Path) -> None:
    """Remove what a killed unpack left; a patient that it had moved out of the way without a successor comes back."""
    for old in (ct / ".replaced").glob("*"):
        if not (ct / old.name).exists():
            old.rename(ct / old.name)
    for leftover in (".partial", ".replaced"):
        shutil.rmtree(ct / leftover, ignore_errors=True)


def _unpack_patient(zip_file: zipfile.ZipFile, files: Mapping[str, zipfile.ZipInfo], place: Path, bar: tqdm) -> None:
    """Write one patient beside its place, move what is there out of the way and take the place."""
    partial, replaced = (place.parent / hidden / place.name for hidden in (".partial", ".replaced"))
    try:
        for name, info in files.items():
            data = zip_file.read(info)  # never more than the size that was declared, and checked against MAX_FILE
            if len(data) != info.file_size:
                raise zipfile.BadZipFile(f"{len(data)} bytes instead of {info.file_size} in {info.filename!r}")
            write_bytes(partial / name, data)
            bar.update()
        if place.exists() or place.is_symlink():
            replaced.parent.mkdir()
            place.rename(replaced)
        partial.rename(place)
    finally:
        _tidy(place.parent)
