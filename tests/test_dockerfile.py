"""The Dockerfile without Docker: what it copies and installs is there, and its command runs as any user."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]


def test_what_it_copies_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [source for line in LINES if line.startswith("COPY ") for source in line.split()[1:-1]]
    assert "chaos_seg" in sources and all((ROOT / source).exists() and f"!{source}" in ignored for source in sources)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {needed["project"]["readme"], *needed["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]} <= {
        *sources
    }


def test_what_it_installs_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r"\.\[([\w,]+)\]", "\n".join(LINES))
    assert set(named.split(",")) <= extras.keys()
    assert re.search(r"^torch==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_it_ends_as_an_ordinary_user() -> None:
    (user,) = (line.split()[1] for line in LINES if line.startswith("USER "))
    assert int(user.split(":")[0]) > 0 and LINES.index(f"USER {user}") < LINES.index(LINES[-2])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to become another user")
def test_its_command_runs_as_a_user_without_a_name(tmp_path: Path) -> None:
    command = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    if subprocess.run([*command, sys.executable, "-c", "import torch"], capture_output=True).returncode:
        pytest.skip("another user can't reach this Python")
    given = dict(part.split("=", 1) for line in LINES if line.startswith("ENV ") for part in line.split()[1:])
    entry = re.findall(r'"([^"]+)"', LINES[-2])[1:]
    environment = {**given, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, sys.executable, *entry, "ckpt=/nowhere.ckpt", "input=/nowhere", "output=/nowhere"],
        cwd="/tmp",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and done.stderr.startswith("/nowhere.ckpt: expected a checkpoint"), done.stderr
