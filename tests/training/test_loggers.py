import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos_seg.config import TrainConfig
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.files import read_csv, read_json
from chaos_seg.reporting.study_view import duration
from chaos_seg.training.loggers import EpochTable

Configure = Callable[..., TrainConfig]


def test_a_repeated_epoch_takes_its_own_place_and_ends_the_table(tmp_path: Path) -> None:
    """A run killed between the row and the checkpoint of an epoch trains it again."""
    for epoch, loss in ((0, 0.5), (1, 0.4), (2, 0.3), (1, 0.45)):
        metrics = {"train/loss": loss, "val/loss": 0.6, "val/dice": 0.7, "train/ms_per_slice": 9.0}
        EpochTable(tmp_path / "metrics.csv").log_metrics(metrics, epoch)
    assert [(row["epoch"], row["train/loss"]) for row in read_csv(tmp_path / "metrics.csv")] == [
        ("0", "0.5"),
        ("1", "0.45"),
    ]


def test_the_time_left_knows_which_epochs_are_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("chaos_seg.training.loggers.time", SimpleNamespace(monotonic=lambda: now[0]))
    caplog.set_level("INFO")
    table = EpochTable(tmp_path / "metrics.csv", epochs=10, half_size=2)
    metrics = {"train/loss": 0.5, "val/loss": 0.6, "val/dice": 0.7, "train/ms_per_slice": 9.0, "train/seconds": 80.0}
    for epoch, taken, seconds in ((0, 100, 9 * 100 + 2 * 8 * 80), (1, 100, 8 * 100 + 2 * 8 * 80), (2, 300, 7 * 300)):
        now[0] += taken
        table.log_metrics(metrics, epoch)
        assert caplog.messages[-1].endswith(f"about {duration(seconds)} left")
    EpochTable(tmp_path / "short.csv", epochs=10, half_size=20).log_metrics(metrics, 0)
    assert caplog.messages[-1].endswith(f"about {duration(0)} left")  # no epoch is larger


def test_csv_alone_is_the_table_that_every_run_has(configure: Configure, tmp_path: Path) -> None:
    train(configure("logger=csv"), tmp_path / "run")
    assert [row["epoch"] for row in read_csv(tmp_path / "run" / "metrics.csv")] == ["0", "1"]
    assert not (tmp_path / "run" / "tb").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_without_its_package_it_is_refused_before_anything_is_read(
    name: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos_seg.registry.find_spec", lambda package: None)
    with pytest.raises(UserError) as error:
        train(configure(f"logger={name}"), tmp_path / "run")
    install = f"install it with pip install -e '.[{name}]', or leave it out."
    assert str(error.value) == f"logger {name} needs {name}; {install}"
    assert not (tmp_path / "store").exists()


def test_mlflow_and_tensorboard_at_once_and_a_resumed_run_goes_on(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    train(configure("logger=[tensorboard,mlflow]"), run)
    train(configure("logger=[tensorboard,mlflow]", "epochs=3", f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}"), run)
    assert list((run / "tb").glob("events*"))
    (losses,) = (tmp_path / "outputs" / "mlruns").glob("*/*/metrics/train/loss")  # one MLflow run: read as its files
    steps = [line.split()[1:] for line in losses.read_text().splitlines()]
    assert [(int(step), float(loss)) for loss, step in steps] == [
        (int(row["epoch"]), pytest.approx(float(row["train/loss"]))) for row in read_csv(run / "metrics.csv")
    ]
    of_run = losses.parents[2]
    assert (of_run / "params" / "batch_size").read_text() == "4"
    dice = (of_run / "metrics" / "hp" / "test_volume_dice").read_text().splitlines()[-1].split()[1]
    assert float(dice) == pytest.approx(read_json(run / "summary.json")["averages"]["volume_dice"]["test"])


def test_wandb_keeps_a_run_offline_and_ends_it(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    train(configure("logger=wandb"), run)
    assert wandb.run is None  # the next job of a sweep begins its own
    (file,) = (run / "wandb").glob("offline-run-*/*.wandb")
    records = list(_records(file.read_bytes()))
    losses = [one["train/loss"] for one in records if "train/loss" in one]
    assert [float(loss) for loss in losses] == [float(row["train/loss"]) for row in read_csv(run / "metrics.csv")]


def _records(content: bytes) -> Iterator[dict[str, str]]:
    """What is logged in a file of W&B, {key: JSON}: blocks of LevelDB's log format that hold protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, whole = 7, b""  # after the file's own header
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, last
            record, whole = Record.FromString(whole), b""
            yield {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
