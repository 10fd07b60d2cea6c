"""The folder of a run: the one place that knows the names of its files, what it was made with and whether it is done.

    config.yaml, split.json, manifest.json     settings, patients; versions, commit, data, seconds, status
    checkpoints/{best,last}.ckpt, tb/          what training leaves
    metrics.csv                                a row an epoch
    predictions/<patient>/img000.png           what scoring leaves: masks,
    per_slice.csv, per_patient.csv, challenge.csv, calibration.csv, reliability.csv, summary.json, figures/
    held_out.csv, outlines.csv                 of validation and test patients: guessed Dice, suspicious true masks

It imports nothing of training, and reads settings of older versions by their present names.
"""

import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from chaos_seg.data.splits import Split
from chaos_seg.errors import UserError
from chaos_seg.files import locked, read_json, write_bytes, write_json
from chaos_seg.run_settings import complete_settings, flat, is_incidental, renamed

PACKAGES = ("chaos_seg", "torch", "lightning", "numpy", "pydicom", "albumentations", "opencv-python-headless")


class _Inside:
    """The path of that name in a run folder."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, run: "RunFolder", owner: type) -> Path:
        return run.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """A run by its folder, which need not exist yet."""

    path: Path

    config = _Inside("config.yaml")
    split_file = _Inside("split.json")
    manifest_file = _Inside("manifest.json")
    metrics = _Inside("metrics.csv")
    checkpoints = _Inside("checkpoints")
    predictions = _Inside("predictions")
    per_slice = _Inside("per_slice.csv")
    per_patient = _Inside("per_patient.csv")
    challenge = _Inside("challenge.csv")
    calibration = _Inside("calibration.csv")
    reliability = _Inside("reliability.csv")
    held_out = _Inside("held_out.csv")
    outlines = _Inside("outlines.csv")
    summary = _Inside("summary.json")
    figures = _Inside("figures")

    def example(self, kind: str) -> Path:
        """The picture of its best, median or worst slice."""
        return self.figures / f"slice_{kind}.png"

    def checkpoint(self, name: str) -> Path:
        """`best` or `last`."""
        return self.checkpoints / f"{name}.ckpt"

    @classmethod
    def of_checkpoint(cls, path: str | Path) -> "RunFolder":
        """The run that a checkpoint belongs to by its place."""
        return cls(Path(path).resolve().parent.parent)

    @property
    def exists(self) -> bool:
        """Whether a run began here; its config.yaml is written last."""
        return self.config.is_file()

    @property
    def status(self) -> str | None:
        """What its manifest says: running, finished or failed; None before it began."""
        return self.manifest()["status"] if self.manifest_file.is_file() else None

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = read_json(self.manifest_file)
        return manifest

    def settings(self) -> dict[str, Any]:
        """config.yaml, also of a run that was made before its settings had their present names."""
        settings: Any = OmegaConf.to_container(OmegaConf.load(self.config), resolve=True)
        return renamed(settings)

    @property
    def init_hash(self) -> str | None:
        """SHA-256 of the model that the run began with, where its weights were not drawn."""
        begun: dict[str, Any] | None = self.manifest().get("init")
        return begun["sha256"] if begun else None

    def split(self) -> Split:
        return Split(**{side: tuple(patients) for side, patients in read_json(self.split_file).items()})

    def expect(self, *files: Path) -> None:
        """Raises UserError when one of these files of the run is not there."""
        if missing := [file.name for file in files if not file.is_file()]:
            raise UserError(
                f"{self.path}: expected the folder of a run, found no {', '.join(missing)} in it; name a run."
            )

    def begin(self, settings: str, split: Split) -> None:
        """Write what the run is made with, `settings` as YAML; from now on it can be resumed."""
        write_json(self.split_file, asdict(split))
        write_bytes(self.config, settings.encode())

    def expect_same(self, settings: Mapping[str, Any], data_hash: str, free: frozenset[str] = frozenset()) -> None:
        """Raise UserError unless the run was made with these settings and on this data.

        Args:
            settings: complete and flat, {"network.base": 8, ...}, `init` a hash; incidental and `free` ones may differ.
            data_hash: of store.data_hash().
        """
        saved = {**flat(complete_settings(self.settings())), "init": self.init_hash}
        for key in {**settings, **saved}:
            other = repr(saved.get(key)) != repr(settings.get(key))  # 1 batch is not 1.0 of all
            if other and not is_incidental(key) and key not in free:
                raise UserError(
                    f"{self.path}: the run was made with {key}={saved.get(key)}, this command asks for "
                    f"{settings.get(key)}; leave that out to resume, or start a new run."
                )
        made_of = self.manifest().get("data", {}).get("fingerprint", "missing")
        if made_of != data_hash:
            raise UserError(
                f"{self.path}: expected the data that the run began with (fingerprint {made_of[:12]}), found other "
                f"slices or masks ({data_hash[:12]}); restore them, or start a new run."
            )

    @contextmanager
    def recorded(self, resume: bool, cpu_threads: int) -> Iterator[Callable[..., None]]:
        """Hold a run folder and keep its manifest: 'running' at first, 'finished' or 'failed' at the end.

        A resume that is refused before it records anything leaves the manifest as it was.

        Args:
            resume: go on with the run that is in it.

        Yields:
            A function that records further facts, given as keyword arguments.

        Raises:
            UserError: another process works in the folder, or it holds a run and `resume` is false.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        busy = f"{self.path}: another process is training in this folder; wait for it."
        with locked(self.path / ".lock", busy):
            if not resume and self.exists:
                resume_it = shlex.quote(f"resume={self.path}")
                raise UserError(
                    f"{self.path}: expected a new folder, found a run in it; resume it with {resume_it} or choose "
                    "another hydra.run.dir (of a sweep: hydra.sweep.dir)."
                )
            earlier = self.manifest() if resume and self.manifest_file.exists() else {}
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
                "cpu_threads": cpu_threads,
            }

            def record(**facts: Any) -> None:
                manifest.update(facts)
                write_json(self.manifest_file, manifest)

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
                if not earlier or self.manifest()["resumed"] == manifest["resumed"]:
                    record(seconds=round(time.perf_counter() - start, 1))


def _git(*command: str) -> str | None:
    """What git says of the checkout that this code is in; None for an installed package."""
    here = Path(__file__).parent
    try:
        answer = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
