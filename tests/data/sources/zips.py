"""Zips of the phantom, as the challenge has its own."""

import hashlib
import zipfile
from pathlib import Path

from chaos_seg.data.sources.archive import Archive

CT = "Train_Sets/CT"


def phantom_files(phantom_root: Path) -> dict[str, bytes]:
    """The 56 files of the phantom's four patients by their names in a zip."""
    files = [path for path in (phantom_root / CT).rglob("*") if path.is_file()]
    return {path.relative_to(phantom_root).as_posix(): path.read_bytes() for path in sorted(files)}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for name, data in files.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED  # ZipInfo(name) would mend the name
            zip_file.writestr(info, data)
    return path


def visible(root: Path) -> dict[str, bytes]:
    """All files below `root` but those of the program's own, wherever a careless unpack may have put them."""
    files = [path for path in root.rglob("*") if path.is_file() and ".unpacked" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def of(path: Path) -> Archive:
    return Archive("http://nowhere.invalid/", path.stat().st_size, hashlib.md5(path.read_bytes()).hexdigest())
