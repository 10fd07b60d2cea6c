"""What a run was: versions, commit, data, seeds, device, seconds and status, in its folder's manifest.json."""

import fcntl
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from chaos_seg.errors import UserError
from chaos_seg.files import read_json, write_json

PACKAGES = ("chaos_seg", "torch", "lightning", "numpy", "pydicom", "albumentations", "opencv-python-headless")


@contextmanager
def recorded_run(folder: Path, resume: bool) -> Iterator[Callable[..., None]]:
    """Hold a run folder and keep its manifest: 'running' at first, 'finished' or 'failed' at the end.

    A resume that is refused before it records anything leaves the manifest as it was.

    Args:
        folder: the run folder; made if need be.
        resume: go on with the run that is in it.

    Yields:
        A function that records further facts, given as keyword arguments.

    Raises:
        UserError: another process works in the folder, or it holds a run and `resume` is false.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.json"
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{folder}: another process is training in this folder; wait for it.") from None
        if not resume and (folder / "config.yaml").exists():
            last = folder / "checkpoints" / "last.ckpt"
            raise UserError(
                f"{folder}: expected a new folder, found a run in it; resume it with "
                f"{shlex.quote(f'ckpt_path={last}')} or choose another "
                "hydra.run.dir (of a sweep: hydra.sweep.dir)."
            )
        earlier = read_json(path) if resume and path.exists() else {}
        manifest: dict[str, Any] = {
            "status": "running",
            "error": None,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "resumed": earlier["resumed"] + 1 if earlier else 0,
            "seconds": None,  # of this process; metrics.csv has those of every epoch
            "command": sys.argv,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "git_commit": _git("rev-parse", "HEAD"),
            "git_changed": bool(_git("status", "--porcelain")),
            "cpu_threads": torch.get_num_threads(),
        }

        def record(**facts: Any) -> None:
            manifest.update(facts)
            write_json(path, manifest)

        if not earlier:
            record()
        start = time.perf_counter()
        try:
            yield record
            manifest["status"] = "finished"
        except BaseException as error:
            manifest["status"], manifest["error"] = "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            if not earlier or read_json(path)["resumed"] == manifest["resumed"]:
                record(seconds=round(time.perf_counter() - start, 1))


def _git(*command: str) -> str | None:
    """What git says of the checkout that this code is in; None for an installed package."""
    here = Path(__file__).parent
    try:
        answer = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
