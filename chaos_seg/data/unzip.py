"""Zips that hold scans, unpacked for a while; those of the challenge are chaos_seg.data.sources.archive's."""

import errno
import shutil
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from chaos_seg.data.sources.archive import MAX_RATIO, entry_fault
from chaos_seg.errors import UserError, unusable_file


def unzip(archive: Path, place: Path) -> None:
    """Write the files of `archive` below the new folder `place`, which is removed again where that fails.

    Raises:
        UserError: no sound zip, one with unsafe or encrypted entries, or one that grows beyond reason or the disk.
    """
    try:
        with zipfile.ZipFile(archive) as zip_file:
            entries = [info for info in zip_file.infolist() if not info.is_dir()]
            if faults := [f"{info.filename!r} {fault}" for info in entries if (fault := entry_fault(info))]:
                raise UserError(f"{archive}: expected ordinary files, but {faults[0]}; unpack it yourself.")
            names = [Path(info.filename) for info in entries]  # without // and ./
            if len(set(names)) < len(names) or any(set(name.parents) & set(names) for name in names):
                raise UserError(f"{archive}: expected a name for each file, but some take another's place; unpack it.")
            size = sum(info.file_size for info in entries)
            if size > MAX_RATIO * archive.stat().st_size:
                raise UserError(
                    f"{archive}: expected files of at most {MAX_RATIO} times the zip, found {size >> 20} MiB in "
                    f"{archive.stat().st_size >> 20} MiB; unpack it yourself."
                )
            place.mkdir(parents=True)
            if size > (free := shutil.disk_usage(place).free):
                raise UserError(
                    f"{archive}: expected {size >> 20} MiB of free disk space to unpack it, found {free >> 20} MiB; "
                    "free some or name an output on another disk."
                )
            for info in tqdm(entries, f"Unpacking {archive.name}", disable=None, leave=False):
                zip_file.extract(info, place)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        shutil.rmtree(place, ignore_errors=True)
        raise UserError(f"{archive}: expected a zip, found a damaged one ({error!s:.200}); copy it again.") from None
    except BaseException as error:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, OSError) and (error.errno == errno.ENAMETOOLONG or unusable_file(error) is None):
            raise UserError(f"{archive}: it can't be unpacked ({error.strerror}); unpack it yourself.") from None
        raise
