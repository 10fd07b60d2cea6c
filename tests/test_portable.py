"""What Linux alone has is not asked for: Windows lacks it, macOS starts processes anew and does not fork them."""

import ast
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import chaos_seg
from chaos_seg.config import TrainConfig
from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.datamodule import ChaosDataModule
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.experiment import open_sides, segmenter_of
from chaos_seg.files import read_json

MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "syslog", "crypt"}
CALLS = {"fork", "forkpty", "preadv", "pread", "pwrite", "killpg", "setsid", "getuid", "geteuid", "chown", "mkfifo"}
CALLS |= {"sched_getaffinity", "uname", "statvfs", "sysconf", "posix_fadvise", "memfd_create", "wait3", "wait4"}

# Before anything of ours is imported. torch, numpy and Python itself meet the modules as they are.
WITHOUT = """
import multiprocessing, os, runpy, sys
if __name__ == "__main__":
    import filelock._unix, lightning.pytorch, matplotlib.figure
    for module in {modules}:
        sys.modules[module] = None
    for call in {calls}:
        if hasattr(os, call):
            delattr(os, call)
    def unlockable(descriptor): raise OSError(38, "no flock here")
    filelock._unix.lock_fd_nonblocking = unlockable
    multiprocessing.set_start_method("spawn")
    for command in {commands}:
        sys.argv[1:] = command[1:]
        runpy.run_module("chaos_seg." + command[0], run_name="__main__")
"""


def test_no_module_names_what_only_linux_has() -> None:
    found = []
    for path in Path(chaos_seg.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in MODULES]
            of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
            if of_os and isinstance(node, ast.Attribute) and node.attr in CALLS:
                found.append(f"{path.name}: os.{node.attr}")
    assert found == []


@pytest.mark.slow
def test_training_and_prediction_without_forks_locks_and_positioned_reads(tmp_path: Path) -> None:
    root = write_phantom(tmp_path / "phantom", Phantom(patients=4, slices=7, size=32, seed=3))
    train = [
        *("train", "image_size=32", "network.base=4", "network.depth=2", "batch_size=4", "epochs=1", "trainer=cpu"),
        *(f"data.root={root}", "data/split=seeded", "data.split.val_patients=1", "logger=csv", "hydra.run.dir=run"),
    ]
    scan = root / "Train_Sets" / "CT" / "1" / "DICOM_anon"
    predict = ["predict", "ckpt=run/checkpoints/best.ckpt", f"input={scan}", "output=masks", "formats=[png]"]
    script, modules = tmp_path / "without.py", sorted(MODULES - {"resource", "pwd", "grp"})
    script.write_text(WITHOUT.format(modules=modules, calls=sorted(CALLS), commands=[train, predict]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "run" / "manifest.json")["status"] == "finished"
    assert [item["status"] for item in read_json(tmp_path / "masks" / "summary.json")["scans"]] == ["predicted"]


def test_the_slices_reach_workers_that_are_started_and_not_forked(configure: Callable[..., TrainConfig]) -> None:
    config = configure()
    sides, _ = open_sides(config)
    data = ChaosDataModule(sides, segmenter_of(config).preprocessing, Augmentation(config.augmentation), batch_size=4)
    sent = pickle.loads(pickle.dumps(data.datasets["train"]))
    for key in ("image", "mask"):
        assert (sent[1, 3][key] == data.datasets["train"][1, 3][key]).all()
