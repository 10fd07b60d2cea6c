"""What the tests share: a small phantom, copies of it to damage, configurations and processes made as the program's."""

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.experiment import train

SMALL = Phantom(patients=4, slices=7, size=32, seed=3)


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patients 1 to 4, 7 slices of 32 x 32 each; not to be changed."""
    return write_phantom(tmp_path_factory.mktemp("phantom"), SMALL)


@pytest.fixture
def tree(phantom_root: Path, tmp_path: Path) -> Path:
    """A copy of the phantom that a test may damage."""
    return Path(shutil.copytree(phantom_root, tmp_path / "tree"))


TINY = (
    *("image_size=32", "network.base=4", "network.depth=2", "batch_size=4", "learning_rate=1e-2", "epochs=2"),
    *("num_workers=0", "trainer=cpu", "data.split.train=[1,2]", "data.split.val=[3]", "data.split.test=[4]"),
)


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The overrides of a run of seconds on the small phantom."""
    return TINY


@pytest.fixture
def configure(phantom_root: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Compose conf/train.yaml with overrides, on the small phantom, as a run of seconds."""
    return partial(_configured, phantom_root, tmp_path / "store")


def _configured(root: Path, store: Path, *overrides: str) -> TrainConfig:
    small = [one for one in TINY if not (one.startswith("data.split.") and "data/split=kfold" in overrides)]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        given = [*small, f"data.root={root}", f"data.store={store}", *overrides]
        return checked(TrainConfig, compose("train", overrides=given))


@pytest.fixture(scope="session")
def finished(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 2 epochs with Dice loss; not to be changed."""
    place = tmp_path_factory.mktemp("finished")
    train(_configured(phantom_root, place / "store", "loss=dice"), place / "run")
    return place / "run"


@pytest.fixture(scope="session")
def pair(phantom_root: Path, finished: Path) -> tuple[Path, Path]:
    """`finished` and a run like it with IoU loss; not to be changed."""
    other = finished.with_name("other")
    train(_configured(phantom_root, finished.with_name("store"), "loss=iou"), other)
    return finished, other


@pytest.fixture
def command(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The command that trains as `configure` says, with further arguments."""
    for name in ("CHAOS_ROOT", "CHAOS_STORE"):
        monkeypatch.delenv(name, raising=False)
    place = (f"data.root={phantom_root}", f"data.store={tmp_path / 'store'}")

    def command(*given: str) -> list[str]:
        flags = [one for one in given if one.startswith("--")]  # come first: Hydra takes overrides in one run only
        return ["train", *flags, *TINY, *place, *(one for one in given if one not in flags)]

    return command


@pytest.fixture(scope="session")
def shared(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What chaos_seg.share makes of a model that finds the small phantom's liver; its run is in run/ beside it."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package)
    from chaos_seg.run_folder import RunFolder  # these take seconds to import
    from chaos_seg.sharing.folder import share
    from chaos_seg.sharing.stated import Stated

    place = tmp_path_factory.mktemp("shared")
    run = RunFolder(place / "run")
    recipe = ("epochs=10", "preprocessing=soft_tissue", "threshold=90")
    train(_configured(phantom_root, place / "store", *recipe), run.path)
    said = {**dict.fromkeys(field.name for field in fields(Stated)), "license": "cc-by-4.0", "contact": "a@b.c <x>"}
    share(run, run.checkpoint("best"), place / "liver", said)
    return place / "liver"


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what is imported by then stays: neither this process nor those that it forks look through it again


class Running:
    """The process of a command, as subprocess.Popen has it; it leads a process group of its own."""

    def __init__(self, warm: socket.socket, command: Sequence[str], folder: Path):
        module, *arguments = command
        self.outputs = TemporaryFile("w+"), TemporaryFile("w+")  # noqa: SIM115 - communicate closes them
        self.told, theirs = socket.socketpair()
        with theirs, TemporaryFile("w+") as request:
            json.dump([f"chaos_seg.{module}", arguments, str(folder), {**os.environ, "OMP_NUM_THREADS": "1"}], request)
            request.seek(0)
            files = (request, *self.outputs, theirs)
            socket.send_fds(warm, [b"."], [file.fileno() for file in files])
        self.pid = self._read("pid")
        self.returncode: int | None = None

    def _read(self, what: str) -> int:
        return int(self.told.recv(20).decode().removeprefix(what))

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.told.settimeout(timeout)
            self.returncode = self._read("exit")
            self.told.close()
        return self.returncode

    def poll(self) -> int | None:
        with suppress(BlockingIOError):
            return self.wait(timeout=0)
        return None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        texts = []
        for file in self.outputs:
            with file:
                file.seek(0)
                texts.append(file.read())
        return texts[0], texts[1]


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Running]]:
    """Starts [COMMAND, *ARGUMENTS] in a folder as `python -m chaos_seg.COMMAND ARGUMENTS`, its imports made before.

    warm.py says how. Where the start itself is the subject, as in test_command_help.py, tests take subprocess.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            warm = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("warm.py")), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        yield partial(Running, ours)
    assert warm.wait(timeout=60) == 0


@pytest.fixture(scope="session")
def finish(start: Callable[..., Running]) -> Callable[..., tuple[int, str, str]]:
    """As `start`; returns the exit code, output and errors of the command once it ended."""

    def finish(command: Sequence[str], folder: Path) -> tuple[int, str, str]:
        process = start(command, folder)
        try:
            out, err = process.communicate(timeout=400)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.wait(), out, err

    return finish


@pytest.fixture(scope="session")
def real_root() -> Path:
    root = os.environ.get("CHAOS_REAL_ROOT")
    if root is None:
        pytest.skip("needs real CT: set CHAOS_REAL_ROOT to a CHAOS tree with patient 3")
    return Path(root)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # small arrays: more threads only wait for each other


@pytest.fixture
def write_series() -> Callable[..., list[Path]]:
    return _write_series


def _write_series(
    folder: Path, hu: np.ndarray, origin_mm: np.ndarray, steps_mm: np.ndarray, **tags: object
) -> list[Path]:
    """`hu` (slices, rows, columns) as a CT series; `steps_mm` (3, 3) are the steps to the next slice, row and column.

    Keyword arguments are attributes of every slice; a callable is asked for each slice's. None removes one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spacing = np.linalg.norm(steps_mm, axis=1)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    paths = []
    for rank, plane in enumerate(hu):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        ds = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.PatientID, ds.PatientName, ds.SeriesNumber, ds.InstanceNumber = "CT", "p", "", 1, rank + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.PixelSpacing = [float(spacing[1]), float(spacing[2])]
        ds.ImageOrientationPatient = [*(steps_mm[2] / spacing[2]), *(steps_mm[1] / spacing[1])]
        ds.ImagePositionPatient = list(origin_mm + rank * steps_mm[0])
        ds.PixelData = (plane + 1024).astype("<i2").tobytes()
        for keyword, value in tags.items():
            found = value(rank) if callable(value) else value
            if found is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, found)
        paths.append(folder / f"slice_{(rank * 7919) % 1009:04d}.dcm")  # names in no order
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths
