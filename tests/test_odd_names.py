"""Paths with odd names as a user types them, through each command."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos_seg.files import read_csv
from chaos_seg.inference.submission import EXPECTED

NASTY = "Müller Jörg (1), k=v 'a' \"b\" $HOME %s {epoch} [x] #~"


@pytest.fixture(scope="module")
def odd(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an odd name, which holds a CHAOS tree."""
    folder = tmp_path_factory.mktemp("cli") / NASTY
    shutil.copytree(phantom_root, folder / "CHAOS 1_0")
    return folder


def run_command(folder: Path, command: str, *arguments: str) -> str:
    """Run a command in the folder above `folder`, with paths from there; returns what it says once it succeeded."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHAOS_")} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", f"chaos_seg.{command}", *arguments],
        cwd=folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(finish: Callable[..., tuple[int, str, str]], odd: Path) -> Iterator[Callable[..., str]]:
    """As run_command beside `odd`, for the commands whose imports take seconds."""

    def run(*command: str) -> str:
        code, out, err = finish(command, odd.parent)
        assert code == 0, out + err
        return out

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("CHAOS_")]:
            patch.delenv(name)
        yield run


@pytest.fixture(scope="module")
def trained(odd: Path, run: Callable[..., str], tiny: tuple[str, ...]) -> Path:
    """The folder of a run, made by the real command."""
    place = (f"data.root={NASTY}/CHAOS 1_0", f"data.store={NASTY}/store=1", f"hydra.run.dir={NASTY}/loss=bce, (1)::b")
    run("train", *tiny, "epochs=1", *place)
    return odd / "loss=bce, (1)::b"


def above(odd: Path) -> set[str]:
    return {path.name for path in odd.parent.iterdir()}


@pytest.mark.slow
def test_train_and_resume(odd: Path, run: Callable[..., str], trained: Path) -> None:
    assert above(odd) == {NASTY}
    assert {path.name for path in odd.iterdir()} >= {"CHAOS 1_0", "store=1", trained.name}
    assert list(trained.glob("tb/events*")) and (trained / "summary.json").is_file()
    again = shutil.copytree(trained, odd / "2026_11_24")
    run("train", f"ckpt_path={NASTY}/2026_11_24/checkpoints/last.ckpt", f"data.store={NASTY}/b {{c}}", "epochs=2")
    assert len(read_csv(again / "metrics.csv")) == 2 and (odd / "b {c}" / "volumes").is_dir()
    assert above(odd) == {NASTY}


@pytest.mark.slow
def test_evaluate(odd: Path, run: Callable[..., str], trained: Path) -> None:
    run(
        "evaluate",
        f"run={NASTY}/{trained.name}",
        f"output={NASTY}/2026_11_25",
        f"root={NASTY}/CHAOS 1_0",
        "device=cpu",
    )
    assert (odd / "2026_11_25" / "per_patient.csv").is_file() and above(odd) == {NASTY}


@pytest.mark.slow
def test_predict(odd: Path, run: Callable[..., str], trained: Path) -> None:
    shutil.copytree(odd / "CHAOS 1_0" / "Train_Sets" / "CT" / "1" / "DICOM_anon", odd / "scans" / "1_2")
    ckpt = f"ckpt=[{NASTY.replace(',', '*')}/loss=bce* (1)::b/checkpoints/*.ckpt]"  # an ensemble of two
    run("predict", ckpt, f"input={NASTY}/scans", "series=1_2", f"output={NASTY}/2026_11_26", "formats=[png]")
    summary = json.loads((odd / "2026_11_26" / "1_2" / "summary.json").read_text())
    assert len(summary["made_of"]["models"]) == 2 and above(odd) == {NASTY}


@pytest.mark.slow
def test_submit(odd: Path, run: Callable[..., str], trained: Path) -> None:
    for rank, patient in enumerate(EXPECTED):
        source = odd / "CHAOS 1_0" / "Train_Sets" / "CT" / str(rank % 4 + 1) / "DICOM_anon"
        shutil.copytree(source, odd / "test, sets" / "Test_Sets" / "CT" / patient / "DICOM_anon")
    run("submit", f"run={NASTY}/{trained.name}", f"output={NASTY}/1_0", f"root={NASTY}/test, sets")
    assert (odd / "1_0.zip").is_file() and (odd / "1_0" / "Task2").is_dir() and above(odd) == {NASTY}


@pytest.mark.slow
def test_prepare_audit_and_what_to_do_next(odd: Path, run: Callable[..., str]) -> None:
    archive = shutil.make_archive(str(odd / "Train, Sets=1"), "zip", odd / "CHAOS 1_0")
    folder = f"hydra.run.dir={NASTY}/2026_11_27"
    said = run("prepare", f"data.root={NASTY}/new (1)", f"data.store={NASTY}/s", f"archive={archive}", folder)
    command = re.search(r"Ready: (.*)", said)
    assert command is not None and shlex.split(command[1])[3:] == [f"data.root={NASTY}/new (1)"]
    run("audit", f"data.root={NASTY}/new (1)", f"data.store={NASTY}/s", folder.replace("27", "28"))
    assert all((odd / name / "audit.html").is_file() for name in ("2026_11_27", "2026_11_28"))
    assert above(odd) == {NASTY}


@pytest.mark.slow
def test_study_report_compare_and_export(odd: Path, run: Callable[..., str], tiny: tuple[str, ...]) -> None:
    sweep = ("hydra.sweeper.params.loss='bce'", "hydra.sweeper.params.seed='0'", "hydra.sweep.subdir=${loss.name}, 1_0")
    place = (f"data.root={NASTY}/CHAOS 1_0", f"data.store={NASTY}/store=1", f"name=a, (1)/{NASTY}")
    tree = (*tiny, "epochs=1", "data=chaos", "data/split=paper")
    said = run("study", "study=demo", *tree, *sweep, *place)
    study = odd.parent / "outputs" / "a, (1)" / NASTY
    command = re.search(r"Its report: (.*)", said)
    assert command is not None
    run_command(odd, *(argument.removeprefix("chaos_seg.") for argument in shlex.split(command[1])[2:]))
    assert (study / "report" / "report.html").is_file()
    assert "SYNTHETIC" in run_command(odd, "compare", str(study / "bce, 1_0"))
    run("export", str(study / "bce, 1_0" / "checkpoints" / "best.ckpt"))
    assert (study / "bce, 1_0" / "checkpoints" / "best.onnx").is_file()
    shutil.rmtree(odd.parent / "outputs")
