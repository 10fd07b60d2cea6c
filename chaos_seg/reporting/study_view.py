"""How far a study is, from its run folders alone."""

import logging
from math import prod
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from chaos_seg.files import read_json
from chaos_seg.run_folder import RunFolder

log = logging.getLogger(__name__)


def progress(study: Path, total: int) -> str:
    """How far a study is, and what is left of it at the pace of the runs that are finished."""
    seconds = [run.manifest()["seconds"] for run in _runs(study) if run.status == "finished"]
    left = f", about {_duration(sum(seconds) / len(seconds) * (total - len(seconds)))} left" if seconds else ""
    return f"{len(seconds)} of {total} runs finished{left if len(seconds) < total else ''}"


def study_table(study: Path) -> str:
    """A line a run: its status, time and mean volume Dice by side, or why it failed; at the end what is unfinished."""
    lines = []
    for run in _runs(study):
        manifest = run.manifest()
        words = str(manifest.get("error") or "").split(chr(10))[0]
        if manifest["status"] == "finished":
            dice = read_json(run.summary)["averages"]["volume_dice"]
            words = "  ".join(f"{side} {value:.3f}" for side, value in dice.items() if value is not None)
        lines.append(f"{run.path.name:<28}  {manifest['status']:<8}  {_duration(manifest['seconds'] or 0):>9}  {words}")
    if unfinished := [run.name for run, status in study_runs(study).items() if status != "finished"]:
        lines.append(f"Not finished: {', '.join(unfinished)}; run the same command again to go on with them.")
    return "\n".join(lines)


class StudyProgress(Callback):
    """Hydra tells it of the study, then of every job before it starts: then it says how far the study is."""

    study: Path | None = None

    def on_multirun_start(self, config: DictConfig, **rest: Any) -> None:
        StudyProgress.study = Path(config.hydra.sweep.dir)

    def on_job_start(self, config: DictConfig, *, task_function: Any, **rest: Any) -> None:
        total = prod(len(str(values).split(",")) for values in config.hydra.sweeper.params.values())
        log.info("%s: %s", config.hydra.runtime.output_dir, progress(Path(config.hydra.sweep.dir), total))


def study_runs(study: Path) -> dict[Path, str]:
    """The run folders of a study with what their manifests say: running, finished or failed."""
    return {run.path: str(run.status) for run in _runs(study)}


def _runs(study: Path) -> list[RunFolder]:
    folders = sorted(path for path in study.glob("*") if path.is_dir())
    return [run for run in map(RunFolder, folders) if run.status is not None]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
