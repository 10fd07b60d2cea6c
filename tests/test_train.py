"""Training as a user starts it; each test runs whole processes, from a folder that is not the repository."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.store import open_patients
from chaos_seg.files import read_csv
from chaos_seg.inference.predictor import Predictor
from chaos_seg.scoring.scan import score_scan
from chaos_seg.training.checkpoints import load_model, read_checkpoint

pytestmark = pytest.mark.slow
Finish = Callable[..., tuple[int, str, str]]


def test_sweep_goes_on_after_a_failed_job(command: Callable[..., list[str]], finish: Finish, tmp_path: Path) -> None:
    sweep = ("--multirun", "loss=dice", "batch_size=99,4", "hydra.sweep.dir=sweep")
    code, out, err = finish(command(*sweep), tmp_path)
    runs = sorted((tmp_path / "sweep").glob("*_*"))
    status = [json.loads((run / "manifest.json").read_text())["status"] for run in runs]
    assert [run.name for run in runs] == ["0_dice", "1_dice"]
    assert status == ["failed", "finished"] and code == 1
    assert "batch_size=99: expected at most 14" in (runs[0] / "train.log").read_text()
    assert "batch_size=99: expected at most 14" in out + err and "Traceback" not in out + err


def test_killed_run_resumes_to_the_same_weights(
    command: Callable[..., list[str]], start: Callable[..., Any], finish: Finish, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert finish(command("epochs=6", "loss=iou", f"hydra.run.dir={whole}"), tmp_path)[0] == 0
    process = start(command("epochs=6", "loss=iou", f"hydra.run.dir={cut}"), tmp_path)
    while process.poll() is None and len(read_csv(cut / "metrics.csv") if (cut / "metrics.csv").exists() else []) < 2:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    first_command = (cut / ".hydra" / "overrides.yaml").read_text()

    resume = ["train", f"ckpt_path={cut / 'checkpoints' / 'last.ckpt'}"]
    code, _, err = finish(resume, tmp_path)  # with the run's own settings
    assert code == 0, err
    for name in ("best", "last"):
        one, other = (read_checkpoint(run / "checkpoints" / f"{name}.ckpt")["state_dict"] for run in (whole, cut))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert (whole / "per_patient.csv").read_bytes() == (cut / "per_patient.csv").read_bytes()
    assert [row["epoch"] for row in read_csv(cut / "metrics.csv")] == list("012345")
    assert (cut / ".hydra" / "overrides.yaml").read_text() == first_command
    assert not (tmp_path / "outputs").exists()  # it resumed in its own folder


def test_two_processes_validate_like_one(
    command: Callable[..., list[str]], configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """7 validation slices on 2 processes are padded to 8; no slice counts twice."""
    run = tmp_path / "run"
    train, *ddp = command("trainer=ddp", "trainer.accelerator=cpu", f"hydra.run.dir={run}")
    options: dict[str, Any] = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "capture_output": True, "timeout": 180}
    done = subprocess.run([sys.executable, "-m", f"chaos_seg.{train}", *ddp], cwd=tmp_path, text=True, **options)
    assert done.returncode == 0, done.stderr
    last_epoch = read_csv(run / "metrics.csv")[-1]
    module, _ = load_model(run / "checkpoints" / "last.ckpt")
    config = configure()
    volumes = open_patients(Path(config.data.store), chaos(Path(str(config.data.root))), ["3"])
    alone = score_scan(volumes[0], "val", Predictor([module], torch.device("cpu"), 4), 100).score.values
    scores = {"dice": alone["volume_dice"], **{name: alone[name] for name in ("precision", "recall", "accuracy")}}
    assert {name: float(last_epoch[f"val/{name}"]) for name in scores} == scores
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    assert len(read_csv(run / "per_patient.csv")) == 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("data.root=null",), "No data root: set data.root=FOLDER"),
        (("loss=dyce",), "loss=dyce: expected one of bce, dice"),
        (("learning_rate=abc",), "learning_rate: Value 'abc'"),
        (("+tpyo=1",), "tpyo: Key 'tpyo' not in 'TrainConfig'"),
        (("data.split.val=[77]",), "the split names patient 77, but the tree has 1, 2, 3, 4"),
        (("ckpt_path=/nowhere/checkpoints/last.ckpt",), "expected <run folder>/checkpoints/last.ckpt"),
        (("trainer=gpu",), "trainer: "),
        (("--multirun", "trainer=ddp"), "expected one device"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_1(
    command: Callable[..., list[str]], finish: Finish, tmp_path: Path, overrides: tuple[str, ...], said: str
) -> None:
    if overrides == ("trainer=gpu",) and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code, out, err = finish(command(*overrides), tmp_path)
    assert code == 1 and said in err and "Traceback" not in out + err
    assert not list(tmp_path.rglob("*.ckpt")) and not list(tmp_path.rglob("metrics.csv"))


def test_the_demo_learns_the_phantom(finish: Finish, tmp_path: Path) -> None:
    """The heart of `make demo`, for one loss: a volume Dice of 0.90 on an unseen patient, halfway."""
    code, _, err = finish(["train", "experiment=demo", "epochs=8", "loss=dice", "hydra.run.dir=run"], tmp_path)
    assert code == 0, err
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert len(split["train"]) == 7 and len(split["test"]) == 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["averages"]["volume_dice"]["test"] >= 0.90
