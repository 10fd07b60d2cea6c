"""`--help`: what conf/ says, at once."""

import re
import subprocess
import sys

import pytest

from chaos_seg.command_help import help_text
from chaos_seg.command_line import CONF_DIR

HYDRA_COMMANDS = ["train", "study", "evaluate", "predict", "submit", "share", "prepare", "audit"]


@pytest.mark.parametrize("command", HYDRA_COMMANDS)
def test_help_has_the_settings_groups_and_comments_of_conf(command: str) -> None:
    text = help_text(command)
    shown = re.sub(r"\s+", " ", text)
    file = (CONF_DIR / f"{command}.yaml").read_text()
    settings = file[: file.index("\nhydra:")]
    for comment in re.findall(r"# *(.+)", settings):
        assert re.sub(r"\s+", " ", comment) in shown
    for group in re.findall(r"^  - (\w+): ", settings, re.MULTILINE):
        for option in (CONF_DIR / group).glob("*.yaml"):
            assert f"{group}={option.stem}: " in text
    assert max(len(line) for line in text.splitlines()) <= 132


def test_help_of_a_study_has_what_its_runs_take() -> None:
    text = help_text("study")
    for line in (
        "ckpt_path: null",
        "data.root: ${oc.env",
        "data/split=kfold: ",
        "study=paper: ",
        "hydra/launcher=slurm",
    ):
        assert line in text
    assert "hydra/launcher" not in help_text("predict") and "Groups" not in help_text("submit")


@pytest.mark.slow
@pytest.mark.parametrize("command", [*HYDRA_COMMANDS, "compare", "report", "export"])
def test_help_is_there_before_anything_heavy_is_imported(command: str) -> None:
    code = (
        "import atexit, runpy, sys\n"
        f"sys.argv = ['{command}', '--help']\n"
        "atexit.register(lambda: print('HEAVY', {'torch', 'lightning', 'numpy', 'cv2', 'scipy'} & set(sys.modules)))\n"
        f"runpy.run_module('chaos_seg.{command}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"python -m chaos_seg.{command} " in done.stdout and not done.stderr
    assert done.stdout.endswith("HEAVY set()\n")


@pytest.mark.slow
def test_a_study_without_a_name_lists_those_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "chaos_seg.study"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "demo\n\tkfold\n\tpaper" in done.stderr and "Traceback" not in done.stderr
    assert "report" not in done.stdout
