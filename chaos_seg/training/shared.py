"""A model as it is handed on, in a folder or in the zip of one: weights without pickle, every file with a checksum."""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import safetensors.torch

from chaos_seg.errors import UserError
from chaos_seg.files import write_bytes, write_json

WEIGHTS, CONFIG, SUMS, HELD_OUT = "model.safetensors", "config.json", "SHA256SUMS", "held_out.csv"
CHOSEN = ("temperature", "largest_component")  # on validation patients, when a run ends
MAX_BYTES = 4 << 30  # of what is in a zip


def is_shared(path: Path) -> bool:
    """Whether `path` is a folder that share wrote, perhaps without some of its files, or a zip with such a folder."""
    if path.is_dir():
        return any((path / name).is_file() for name in (WEIGHTS, CONFIG, SUMS))
    try:
        with zipfile.ZipFile(path) as archive:
            return _root(archive) is not None
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):  # no zip, or one that zipfile can't open
        return False


def read_shared(path: Path) -> dict[str, bytes]:
    """Every file that SHA256SUMS lists, by its name; others are left alone.

    Raises:
        UserError: a file is missing, or not the one that was handed on.
    """
    if path.is_dir():
        return _checked(path, lambda name: (path / name).read_bytes())
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise UserError(f"{path}: expected a shared model, found more than {MAX_BYTES >> 30} GiB; unpack it.")
            return _checked(path, lambda name: archive.read(f"{_root(archive)}{name}"))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(
            f"{path}: expected a shared model as it was handed on, found a damaged zip ({error!s:.100}); copy it again."
        ) from None


def read_shared_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds for prediction: settings, weights, epoch and what the training scans looked like.

    Raises:
        UserError: as read_shared().
    """
    files = read_shared(path)
    config: dict[str, Any] = json.loads(files[CONFIG])
    return {**config, "state_dict": safetensors.torch.load(files[WEIGHTS])}


def write_shared_checkpoint(folder: Path, checkpoint: dict[str, Any], sha256: str) -> None:
    """Write what read_shared_checkpoint() reads; `sha256` is of the checkpoint that it was."""
    weights = {name: value.contiguous() for name, value in checkpoint["state_dict"].items()}
    write_bytes(folder / WEIGHTS, safetensors.torch.save(weights, {"format": "pt"}))
    kept = {key: checkpoint.get(key) for key in ("format", "hyper_parameters", "epoch", "training_range", *CHOSEN)}
    write_json(folder / CONFIG, {**kept, "sha256": sha256})


def write_sums(folder: Path) -> None:
    """SHA256SUMS of all files below `folder`, as sha256sum -c reads it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names if name != SUMS]
    write_bytes(folder / SUMS, "".join(lines).encode())


def _root(archive: zipfile.ZipFile) -> str | None:
    """What stands before the names of the files in a zip, "" or "folder/"; None when it holds no shared model."""
    found = sorted((name for name in archive.namelist() if PurePosixPath(name).name == SUMS), key=len)
    return found[0].removesuffix(SUMS) if found else None


def _checked(path: Path, read: Callable[[str], bytes]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for line in _read(path, SUMS, read).decode(errors="replace").splitlines():
        listed = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if listed is None or listed[2].startswith("/") or ".." in PurePosixPath(listed[2]).parts:
            raise UserError(f"{path}: expected {SUMS} to list files of its folder, found {line!r:.80}; copy it again.")
        expected, name = listed.groups()
        files[name] = _read(path, name, read)
        if (found := hashlib.sha256(files[name]).hexdigest()) != expected:
            raise UserError(
                f"{path}: expected {name} as it was handed on (SHA-256 {expected[:12]}), found other bytes "
                f"({found[:12]}); copy the model again."
            )
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in files]:
        raise UserError(f"{path}: expected a folder of chaos_seg.share, found no {missing[0]} in {SUMS}; name another.")
    return files


def _read(path: Path, name: str, read: Callable[[str], bytes]) -> bytes:
    try:
        return read(name)
    except (KeyError, FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise UserError(
            f"{path}: expected a folder of chaos_seg.share, found no {name} in it; copy the model again."
        ) from None
