"""A study as a user starts it: stopped, started again, with a run that cannot work."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from chaos_seg.command_line import CONF_DIR

Finished = Callable[..., tuple[int, str]]
TINY = (
    *("image_size=32", "network.base=4", "network.depth=2", "batch_size=4", "learning_rate=1e-2", "num_workers=0"),
    *("data.source.patients=4", "data.source.slices=7", "data.source.size=32", "data.split.val_patients=1"),
    *("data.store=store", "hydra.sweeper.params.loss='dice,iou'", "hydra.sweeper.params.seed='0'"),
)


def command(*overrides: str) -> list[str]:
    return ["study", "study=demo", *TINY, *overrides]


@pytest.fixture
def finished(finish: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Finished:
    """Runs a study in tmp_path to its end; returns exit code and output."""

    def finished(*overrides: str) -> tuple[int, str]:
        code, out, err = finish(command(*overrides), tmp_path)
        return code, out + err

    return finished


def manifest(run: Path) -> dict[str, Any]:
    return json.loads((run / "manifest.json").read_text())


@pytest.mark.slow
def test_stopped_study_goes_on_and_repeats_nothing(
    start: Callable[..., Any], finished: Finished, tmp_path: Path
) -> None:
    study = tmp_path / "outputs" / "study_demo"
    last = study / "iou_seed0" / "checkpoints" / "last.ckpt"
    process = start(command("epochs=12"), tmp_path)
    while not last.exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = manifest(study / "dice_seed0")
    assert first["status"] == "finished" and manifest(study / "iou_seed0")["status"] == "running"
    code, said = finished("epochs=12")
    assert code == 0 and "1 of 2 runs finished, about" in said and "2 of 2" not in said
    assert manifest(study / "dice_seed0") == first
    second = manifest(study / "iou_seed0")
    assert second["status"] == "finished" and second["resumed"] == 1
    table = said[said.rindex("dice_seed0") :]
    assert table.splitlines()[1].startswith("iou_seed0") and "Not finished" not in said

    code, said = finished("epochs=20")
    assert code == 1 and "the run is finished with 12 epochs, this command asks for 20" in said
    code, said = finished("epochs=12", "learning_rate=1e-3")
    assert code == 1 and "the run was made with learning_rate=0.01, this command asks for 0.001" in said


@pytest.mark.slow
def test_failed_run_does_not_stop_the_rest_and_is_named(finished: Finished, tmp_path: Path) -> None:
    sweep = ("+hydra.sweeper.params.threshold='300,100'", "hydra.sweep.subdir=${loss.name}_at_${threshold}")
    code, said = finished("epochs=1", *sweep)
    assert code == 1 and "Traceback" not in said
    assert "Not finished: dice_at_300, iou_at_300; run the same command again to go on with them." in said
    assert manifest(tmp_path / "outputs" / "study_demo" / "iou_at_100")["status"] == "finished"
    assert said.count("threshold=300.0: expected a number from 1 to below 255") >= 2


@pytest.fixture(scope="module")
def serial(finish: Callable[..., tuple[int, str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a study made its runs one after the other; not to be changed."""
    folder = tmp_path_factory.mktemp("serial")
    code, _, err = finish(command("epochs=1", "name=serial"), folder)
    assert code == 0, err
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "launcher"),
    [
        ("hydra_joblib_launcher", ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")),
        ("hydra_submitit_launcher", ("hydra/launcher=submitit_local", "hydra.sweeper.params.loss=iou")),
        ("hydra_ray_launcher", ("hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2")),
    ],
)
def test_processes_at_once_give_the_numbers_of_one(
    serial: Path, finished: Finished, plugin: str, launcher: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    shutil.copytree(serial / "store", tmp_path / "store")
    code, said = finished("epochs=1", "name=both", *launcher)
    assert code == 0 and "Its report: python -m chaos_seg.report outputs/both" in said, said
    runs = sorted(path.name for path in (tmp_path / "outputs" / "both").glob("*_seed0"))
    assert runs == ["iou_seed0"] if len(launcher) == 2 and "submitit" in plugin else ["dice_seed0", "iou_seed0"]
    assert len(re.findall(r"(?m)^\w+_seed0 +finished", said)) == len(runs)
    for table in ("per_patient.csv", "per_slice.csv", "challenge.csv"):
        for run in runs:
            one, other = serial / "outputs" / "serial" / run / table, tmp_path / "outputs" / "both" / run / table
            assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("name", "plugin"), [("slurm", "hydra_submitit_launcher"), ("cluster", "hydra_ray_launcher")])
def test_the_launchers_for_clusters_compose(name: str, plugin: str) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}")
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        launcher = compose(
            "study", overrides=["study=demo", f"hydra/launcher={name}"], return_hydra_config=True
        ).hydra.launcher
    assert launcher.gpus_per_node == 1 if name == "slurm" else launcher.ray.remote.num_gpus == 1
