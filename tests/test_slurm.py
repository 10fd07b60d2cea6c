"""Runs in a Slurm job: stopped by its signal they go on from their own last.ckpt, and take no other's weights."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.experiment import train
from chaos_seg.files import read_csv
from chaos_seg.training.checkpoints import read_checkpoint

ONE_TASK = dict.fromkeys(("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"), "1")
FIRST = dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0")
JOB = {"SLURM_JOB_ID": "1234", "SLURM_JOB_NAME": "train", **ONE_TASK, **FIRST}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"])


def test_a_checkpoint_of_another_job_in_this_folder_is_not_taken(
    configure: Callable[..., TrainConfig], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning looks for hpc_ckpt_*.ckpt where the command is started, to train and to score."""
    monkeypatch.chdir(tmp_path)
    Path("hpc_ckpt_1.ckpt").write_bytes((finished / "checkpoints" / "last.ckpt").read_bytes())
    with monkeypatch.context() as patch:
        for name, value in JOB.items():
            patch.setenv(name, value)
        train(configure("epochs=1", "seed=1"), tmp_path / "job")
    train(configure("epochs=1", "seed=1"), tmp_path / "outside")
    assert all(
        torch.equal(weights(tmp_path / "job")[key], value) for key, value in weights(tmp_path / "outside").items()
    )
    for table in ("per_patient.csv", "calibration.csv"):
        assert (tmp_path / "job" / table).read_bytes() == (tmp_path / "outside" / table).read_bytes()


@pytest.mark.slow
def test_a_signalled_job_resumes_to_the_weights_of_an_uninterrupted_one(
    start: Callable[..., Any],
    finish: Callable[..., tuple[int, str, str]],
    phantom_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = tmp_path / "bin" / "scontrol"
    called.parent.mkdir()
    called.write_text(f"#!/bin/sh\necho $@ > {tmp_path / 'requeued'}\n")
    called.chmod(0o755)
    environment = {**JOB, "OMP_NUM_THREADS": "1", "PATH": f"{called.parent}:{os.environ['PATH']}"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tiny = (
        *(
            "image_size=32",
            "network.base=4",
            "network.depth=2",
            "batch_size=4",
            "epochs=12",
            "num_workers=0",
            "trainer=cpu",
        ),
        *("data.split.train=[1,2]", "data.split.val=[3]", "data.split.test=[4]", "loss=iou", "learning_rate=1e-2"),
        *(f"data.root={phantom_root}", f"data.store={tmp_path / 'store'}"),
    )

    cut, whole = tmp_path / "cut", tmp_path / "whole"
    job = start(["train", *tiny, f"hydra.run.dir={cut}"], tmp_path)
    while job.poll() is None and len(read_csv(cut / "metrics.csv") if (cut / "metrics.csv").exists() else []) < 2:
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGUSR1)  # sbatch --signal=USR1@60, before the time is up
    assert job.wait(timeout=120) == -signal.SIGUSR1
    assert not list(tmp_path.rglob("hpc_ckpt*")) and not (tmp_path / "requeued").exists()
    assert finish(["train", f"ckpt_path={cut / 'checkpoints' / 'last.ckpt'}"], tmp_path)[0] == 0
    assert finish(["train", *tiny, f"hydra.run.dir={whole}"], tmp_path)[0] == 0
    assert all(torch.equal(weights(cut)[key], value) for key, value in weights(whole).items())
    assert (cut / "per_patient.csv").read_bytes() == (whole / "per_patient.csv").read_bytes()
