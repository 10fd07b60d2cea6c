"""What may be gone on with, and with what."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import lightning as L
import pytest
import torch

from chaos_seg.config import TrainConfig
from chaos_seg.errors import UserError
from chaos_seg.experiment import completed, train
from chaos_seg.run_settings import as_yaml
from chaos_seg.training.checkpoints import read_checkpoint

Configure = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def rows() -> Callable[[Path], list[dict[str, str]]]:
    return lambda path: list(csv.DictReader(path.open()))


def snapshot(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_run_stopped_before_its_first_checkpoint_starts_again(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    train(configure("epochs=1", f"ckpt_path={tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}"), tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["epoch"] == 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("network.base=8", "made with network.base=4, this command asks for 8"),
        ("loss=bce", "made with loss.name=dice, this command asks for bce"),
        ("batch_size=2", "made with batch_size=4, this command asks for 2"),
        ("augmentation.rotation.degrees=1", "made with augmentation.rotation.degrees=5.0, this command asks for 1.0"),
        ("trainer.limit_train_batches=1", "made with trainer.limit_train_batches=1.0, this command asks for 1"),
        ("data.split.test=[]", r"made with data.split.test=\['4'\]"),
        ("learning_rate=1e-3", "made with learning_rate=0.01, this command asks for 0.001"),
        ("threshold=120", "made with threshold=100.0, this command asks for 120.0"),
        ("seed=1", "made with seed=0, this command asks for 1"),
        ("epochs=1", "has 2 epochs, this command asks for 1"),
        ("ckpt_path={run}/checkpoints/lsat.ckpt", "expected .*last.ckpt, the last checkpoint of the run"),
        ("ckpt_path={run}/checkpoints/best.ckpt", "expected .*last.ckpt, the last checkpoint of the run"),
    ],
)
def test_only_the_same_experiment_resumes_and_a_refusal_changes_nothing(
    configure: Configure, finished: Path, override: str, said: str
) -> None:
    before = snapshot(finished)
    last = f"ckpt_path={finished / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(UserError, match=said):
        train(configure("loss=dice", last, override.format(run=finished)), finished)
    assert snapshot(finished) == before


def test_a_schedule_ends_with_the_epochs_that_its_run_began_with(
    configure: Configure, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.yaml").write_text(as_yaml(asdict(completed(configure("loss=dice", "scheduler=cosine")))))
    last = f"ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(UserError, match="made with epochs=2, this command asks for 3"):
        train(configure("epochs=3", "loss=dice", "scheduler=cosine", last), tmp_path)


def test_a_checkpoint_of_another_network_does_not_resume(configure: Configure, finished: Path, tmp_path: Path) -> None:
    last = shutil.copytree(finished, tmp_path / "run") / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    checkpoint["hyper_parameters"]["network"]["base"] = 8
    torch.save(checkpoint, last)
    with pytest.raises(
        UserError, match=r"expected a checkpoint of the network \{.*'base': 4.*found one of \{.*'base': 8"
    ):
        train(configure("loss=dice", f"ckpt_path={last}"), tmp_path / "run")


def test_a_moved_run_keeps_its_best_score(configure: Configure, finished: Path, tmp_path: Path, rows: Callable) -> None:
    before = snapshot(finished)
    shutil.copytree(finished, tmp_path / "there")
    last = tmp_path / "there" / "checkpoints" / "last.ckpt"
    train(configure("loss=dice", "epochs=4", f"ckpt_path={last}"), tmp_path / "there")
    state = next(v for k, v in read_checkpoint(last)["callbacks"].items() if "val/dice" in k)
    best = max(float(row["val/dice"]) for row in rows(tmp_path / "there" / "metrics.csv"))
    assert float(state["best_model_score"]) == pytest.approx(best, rel=1e-6)
    assert state["best_model_path"] == str(last.with_name("best.ckpt")) and snapshot(finished) == before


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(checkpoint)["state_dict"])


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


class StopAfter(L.Callback):
    """Ends the process's work as a crash would, with nothing tidied up."""

    def __init__(self, epoch: int, batch: int):
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: object, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            raise ConnectionAbortedError


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TrainConfig], Path]:
    """The folder of a whole run, made once for each optimizer and average; not to be changed."""
    folder = tmp_path_factory.mktemp("uninterrupted")

    def uninterrupted(config: TrainConfig) -> Path:
        run = folder / f"{config.optimizer['name']}{config.ema_decay}{config.half_size_epochs}"
        if not run.exists():
            train(config, run)
        return run

    return uninterrupted


@pytest.mark.parametrize(
    ("batch", "overrides"),
    [
        (0, ()),
        (1, ()),
        (3, ()),
        (1, ("optimizer=adamw", "scheduler=cosine", "half_size_epochs=3", "best_by=last")),
        (1, ("ema_decay=0.6",)),
    ],
)
def test_resumed_run_is_the_uninterrupted_one(
    configure: Configure,
    uninterrupted: Callable[[TrainConfig], Path],
    tmp_path: Path,
    rows: Callable,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    overrides: tuple[str, ...],
) -> None:
    whole = uninterrupted(configure("epochs=4", *overrides))
    cut, last = tmp_path / "cut", tmp_path / "cut" / "checkpoints" / "last.ckpt"
    fit = L.Trainer.fit
    with monkeypatch.context() as patch:

        def fit_and_crash(trainer: L.Trainer, *args: object, **kwargs: object) -> None:
            trainer.callbacks.append(StopAfter(epoch=2, batch=batch))  # type: ignore[attr-defined]
            fit(trainer, *args, **kwargs)  # type: ignore[arg-type]

        patch.setattr(L.Trainer, "fit", fit_and_crash)
        with pytest.raises(ConnectionAbortedError):
            train(configure("epochs=4", *overrides), cut)
    assert json.loads((cut / "manifest.json").read_text())["status"] == "failed"
    assert read_checkpoint(last)["epoch"] == 1
    begun = rows(cut / "metrics.csv")[:2]
    torch.rand(100)  # the random state is elsewhere than it was
    train(configure("epochs=4", f"ckpt_path={last}", *overrides), cut)
    for name in ("best", "last"):
        assert same(weights(whole / "checkpoints" / f"{name}.ckpt"), weights(cut / "checkpoints" / f"{name}.ckpt"))
    timed = ("train/seconds", "train/ms_per_slice")
    untimed = [
        [{k: v for k, v in row.items() if k not in timed} for row in rows(run / "metrics.csv")] for run in (whole, cut)
    ]
    assert untimed[0] == untimed[1] and len(untimed[0]) == 4
    assert rows(cut / "metrics.csv")[:2] == begun  # with their times: it went on, and did not start again
    manifest = json.loads((cut / "manifest.json").read_text())
    assert (manifest["status"], manifest["resumed"]) == ("finished", 1)
    assert sorted(path.name for path in (cut / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_two_runs_are_equal_and_seeds_differ(configure: Configure, finished: Path, tmp_path: Path) -> None:
    for name, override in {"b": "num_workers=2", "c": "seed=1"}.items():
        train(configure("loss=dice", override), tmp_path / name)
    a, b, c = (weights(run / "checkpoints" / "last.ckpt") for run in (finished, tmp_path / "b", tmp_path / "c"))
    assert same(a, b) and not same(a, c)
