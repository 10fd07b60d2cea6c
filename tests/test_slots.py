"""Every slot filled from outside, each by one function or class, and a run with all of them from data to masks."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import Logger
from torch import nn

from chaos_seg import predict as predict_door
from chaos_seg import registry
from chaos_seg.config import TrainConfig
from chaos_seg.data.dicom import SliceHeader
from chaos_seg.data.preprocessing import Preprocessing
from chaos_seg.data.scan import Scan
from chaos_seg.data.sources import Source
from chaos_seg.data.sources.phantom import render
from chaos_seg.data.splits import Split
from chaos_seg.errors import UserError
from chaos_seg.evaluation.metrics import Case
from chaos_seg.experiment import train
from chaos_seg.files import read_csv, read_json
from chaos_seg.inference.formats import Writer
from chaos_seg.inference.onnx import export
from chaos_seg.reporting.report_page import report
from chaos_seg.reporting.runs import read_runs
from chaos_seg.training.checkpoints import load_model

Configure = Callable[..., TrainConfig]


@pytest.fixture
def foreign() -> Iterator[None]:
    """All of this file's entries, for one test."""
    ours = {
        registry.NETWORKS: Plain,
        registry.LOSSES: Squared,
        registry.OPTIMIZERS: sgd,
        registry.SCHEDULERS: halved,
        registry.PREPROCESSINGS: Tanh,
        registry.AUGMENTATIONS: Darker,
        registry.SOURCES: arrays,
        registry.SPLITS: last_two,
        registry.METRICS: missed_ml,
        registry.FORMATS: npy,
        registry.LOGGERS: Lines,
    }
    for slot, entry in ours.items():
        slot.register("theirs")(entry)
    yield
    for slot in ours:
        del slot._entries["theirs"]


class Plain(nn.Module):
    """A network: two convolutions, any size."""

    divisor = 1

    def __init__(self, inputs: int, width: int = 4):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 1, 5, padding=2)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(image)
        return logits


class Squared(nn.Module):
    """A loss."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (logits.sigmoid() - target).square().mean()


def sgd(parameters: Sequence[nn.Parameter], learning_rate: float, momentum: float = 0.9) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum)


def halved(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """A schedule: half the rate in the second half."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < steps / 2 else 0.5)


@dataclass(frozen=True)
class Tanh(Preprocessing):
    """A preprocessing that takes slices at their own size."""

    image_size: int
    scale_hu: float = 200.0

    def image(self, hu: np.ndarray) -> np.ndarray:
        return np.tanh(hu.astype(np.float32) / np.float32(self.scale_hu))

    def mask(self, mask: np.ndarray, hu: np.ndarray) -> np.ndarray:
        return mask

    def back(self, probability: np.ndarray, hu: np.ndarray) -> np.ndarray:
        return probability

    def in_words(self) -> list[str]:
        return [f"x = tanh(HU / {self.scale_hu})."]

    def back_in_words(self) -> str:
        return "Nothing."


class Darker:
    """An augmentation step."""

    seen: list[int] = []  # noqa: RUF012 - shared by all, to be looked at

    def __init__(self, by: float):
        self.by = by

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        Darker.seen.append(seed)
        return (image - np.float32(self.by * np.random.default_rng(seed).random())).clip(-1, 1), mask


@dataclass(frozen=True)
class ArraySlice:
    path: Path
    rank: int

    @property
    def mask_path(self) -> Path:
        return self.path

    def read(self) -> tuple[SliceHeader, np.ndarray]:
        hu = np.load(self.path)["hu"][self.rank]
        place, content = (0.0, 0.0, 30.0 * self.rank), hashlib.sha256(hu.tobytes()).hexdigest()
        extremes = int(hu.min()), int(hu.max())
        return SliceHeader(*hu.shape, place, (1, 0, 0, 0, 1, 0), (11.5, 11.5), *extremes, content), hu

    def read_mask(self) -> tuple[str, np.ndarray]:
        return "npz", np.load(self.path)["mask"][self.rank].astype(np.uint8)

    def mask_digest(self) -> bytes:
        return hashlib.sha256(self.read_mask()[1].tobytes()).digest()


@dataclass(frozen=True)
class ArrayPatient:
    place: Path
    labelled = True
    variant = ""

    @property
    def patient(self) -> str:
        return self.place.stem

    def files(self) -> list[Path]:
        return [self.place]

    def slices(self) -> tuple[list[ArraySlice], list[UserError]]:
        return [ArraySlice(self.place, rank) for rank in range(len(np.load(self.place)["hu"]))], []


def arrays(root: Path, store: Path, suffix: str = ".npz") -> Source:
    """A source: a file of arrays a patient."""
    return Source(root, {path.stem: ArrayPatient(path) for path in sorted(root.glob(f"*{suffix}"))})


def last_two(patients: Sequence[str]) -> Split:
    """A split."""
    return Split(tuple(patients[:-2]), (patients[-2],), (patients[-1],))


def missed_ml(case: Case) -> float:
    """Missed, ml: liver that the mask leaves out."""
    missed = sum(int((true & ~predicted).sum()) for predicted, true in zip(case.predicted, case.true, strict=True))
    return missed * float(np.prod(case.spacing_mm)) / 1000


def npy(scan: Scan) -> Writer:
    """A format."""
    return Writer(lambda mask, folder: np.save(folder / "mask.npy", np.stack(list(mask))))


class Lines(Logger):
    """A logger."""

    name, version = "lines", None

    def __init__(self, folder: Path, file: str = "lines.txt"):
        super().__init__()
        self.path = folder / file

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self.path.open("a") as file:
            file.write(f"{step} {metrics['lr']:g}\n")

    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        pass


def test_a_run_with_nothing_of_ours_in_its_slots(
    foreign: None, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        slices = list(render(np.random.default_rng(number), 8, 32))
        hu, mask = np.stack([hu for hu, _ in slices]), np.stack([liver for _, liver in slices])
        np.savez(tmp_path / f"p{number}.npz", hu=hu.astype(np.int16), mask=mask)
    config = configure("epochs=4", f"data.root={tmp_path}", "data.audit=off")
    config.data.source, config.data.split = {"name": "theirs"}, {"name": "theirs"}
    config.network, config.loss = {"name": "theirs", "width": 6}, {"name": "theirs"}
    config.optimizer, config.scheduler = {"name": "theirs", "momentum": 0.5}, {"name": "theirs"}
    config.preprocessing, config.augmentation = {"name": "theirs"}, {"theirs": {"by": 0.2}, "rotation": {"degrees": 3}}
    config.logger = {"theirs": {"file": "log.txt"}, "tensorboard": {}}
    run = tmp_path / "run"
    summary = train(config, run)

    # source and split
    assert read_json(run / "split.json") == {"train": ["p0", "p1"], "val": ["p2"], "test": ["p3"]}
    rows = read_csv(run / "per_patient.csv")
    assert [(row["patient"], row["side"]) for row in rows] == [
        *(("p0", "train"), ("p1", "train"), ("p2", "val"), ("p3", "test"))
    ]
    # optimizer, scheduler and logger
    assert (run / "log.txt").read_text().splitlines() == ["0 0.01", "1 0.005", "2 0.005", "3 0.005"]
    assert [float(row["lr"]) for row in read_csv(run / "metrics.csv")] == [0.01, 0.005, 0.005, 0.005]
    # augmentation: each training slice once an epoch
    assert len(set(Darker.seen)) == len(Darker.seen) == 4 * 16
    # metric: in the tables, the averages and the report
    for row in rows:
        assert float(row["theirs"]) == pytest.approx(int(row["fn"]) * 30 * 11.5**2 / 1000)
    assert summary["averages"]["theirs"]["test"] == float(rows[-1]["theirs"])
    _, tables = report("study", read_runs([run]), [])
    shown = next(table for table in tables if table.name == "metrics")
    assert [column.title for column in shown.columns][-1] == "Missed, ml"
    # network, loss and preprocessing: the checkpoint names them, and they come back with their options
    model, _ = load_model(run / "checkpoints" / "best.ckpt")
    assert isinstance(model.net, Plain) and model.net.layers[0].out_channels == 6
    assert model.settings["loss"]["name"] == "theirs"
    assert model.preprocessing == Tanh(32, 200.0)
    with pytest.raises(UserError, match=r"the run was made with network\.width=6, this command asks for 5"):
        config.network["width"], config.ckpt_path = 5, str(run / "checkpoints" / "last.ckpt")
        train(config, run)
    if pytest.importorskip("onnx"):
        export(run / "checkpoints" / "best.ckpt", tmp_path / "model.onnx")

    # predict, in their format
    nib = pytest.importorskip("nibabel")
    volume = np.load(tmp_path / "p3.npz")["hu"]  # (slices, rows, columns), rows to the back, columns to the left
    nib.save(nib.Nifti1Image(volume.transpose(2, 1, 0), np.diag([-11.5, -11.5, 30, 1])), tmp_path / "scan.nii.gz")
    given = [f"ckpt={run / 'checkpoints' / 'best.ckpt'}", f"input={tmp_path / 'scan.nii.gz'}", "formats=[theirs,png]"]
    given += ["postprocess=none", f"output={tmp_path / 'masks'}", "device=cpu"]
    monkeypatch.setattr(sys, "argv", ["predict", *given])
    predict_door.main()
    (folder,) = (path for path in (tmp_path / "masks").iterdir() if path.is_dir())
    mask = np.load(folder / "mask.npy")
    assert mask.shape == (8, 32, 32) and "mask.npy" in json.loads((folder / "summary.json").read_text())["outputs"]
    assert int(mask.sum()) == int(rows[-1]["tp"]) + int(rows[-1]["fp"])
