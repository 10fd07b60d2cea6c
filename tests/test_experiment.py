"""Training and scoring in this process; tests/test_train.py does it as a user would."""

import csv
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pydicom
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from chaos_seg.config import TrainConfig
from chaos_seg.data.datamodule import ChaosDataModule
from chaos_seg.data.preprocessing import Window
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from chaos_seg.errors import UserError
from chaos_seg.evaluation.counts import count, dice
from chaos_seg.experiment import open_sides, train
from chaos_seg.training.checkpoints import read_checkpoint
from chaos_seg.training.losses import DiceLoss
from chaos_seg.training.segmenter import Segmenter

Configure = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def rows() -> Callable[[Path], list[dict[str, str]]]:
    return lambda path: list(csv.DictReader(path.open()))


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(checkpoint)["state_dict"])


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_folder_is_complete(configure: Configure, tmp_path: Path, rows: Callable) -> None:
    run = tmp_path / "run"
    summary = train(configure("epochs=3", "overlay_every_epochs=2", "loss=iou"), run)
    as_json = json.loads(json.dumps(summary), parse_constant=lambda not_a_number: None)
    assert list(as_json) == list(summary) and as_json == json.loads((run / "summary.json").read_text())
    assert json.loads((run / "split.json").read_text()) == {"train": ["1", "2"], "val": ["3"], "test": ["4"]}
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["seed"], manifest["device"], manifest["error"]) == ("finished", 0, "cpu", None)
    assert manifest["data"]["fingerprint"] == summary["data_fingerprint"] and manifest["synthetic"]
    assert manifest["versions"]["torch"] == torch.__version__ and manifest["seconds"] > 0

    epochs = rows(run / "metrics.csv")
    assert [row["epoch"] for row in epochs] == ["0", "1", "2"]
    names = [
        f"{side}/{name}" for side in ("train", "val") for name in ("loss", "accuracy", "precision", "recall", "dice")
    ]
    assert all(0 <= float(row[name]) <= 1 or math.isnan(float(row[name])) for row in epochs for name in names)
    events = EventAccumulator(str(run / "tb")).Reload()
    assert set(names) <= set(events.Tags()["scalars"])
    for name in names:
        assert [event.step for event in events.Scalars(name)] == [0, 1, 2]
        assert [event.value for event in events.Scalars(name)] == pytest.approx(
            [float(row[name]) for row in epochs], nan_ok=True
        )
    assert [event.step for event in events.Images("validation (synthetic)/patient 3")] == [0, 2]
    assert events.Scalars("hp/test_volume_dice")[0].value == pytest.approx(
        summary["averages"]["volume_dice"]["test"], nan_ok=True
    )
    best = max(range(3), key=lambda k: float(epochs[k]["val/dice"]))
    assert summary["epoch"] == best and read_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"] == 2
    assert set(summary["slices"]) == {"best", "median", "worst"}
    for name in ("loss", "accuracy", "metrics", *(f"slice_{kind}" for kind in summary["slices"])):
        with Image.open(run / "figures" / f"{name}.png") as image:
            assert min(image.size) > 500
    assert not list(run.rglob("*.partial*"))


def test_calibration_holds_the_counts_at_the_runs_own_threshold(
    configure: Configure, tmp_path: Path, rows: Callable
) -> None:
    train(configure("image_size=16", "threshold=60", "epochs=1"), tmp_path)
    levels = rows(tmp_path / "calibration.csv")
    for patient in rows(tmp_path / "per_patient.csv"):
        above = [row for row in levels if row["patient"] == patient["patient"] and int(row["level"]) > 60]
        assert sum(int(row["liver"]) for row in above) == int(patient["tp"])
        assert sum(int(row["other"]) for row in above) == int(patient["fp"])


def test_scores_are_those_of_the_predicted_masks(configure: Configure, tmp_path: Path, rows: Callable) -> None:
    """The tables, from nothing but the PNG files and the store; the network works at half their size."""
    config, run = configure("image_size=16", "epochs=4", "threshold=60"), tmp_path / "run"
    train(config, run)
    volumes = open_volumes(Path(config.data.store), find_patients(Path(str(config.data.root))).values())
    table = {row["patient"]: row for row in rows(run / "per_patient.csv")}
    assert {patient: row["side"] for patient, row in table.items()} == {
        "1": "train",
        "2": "train",
        "3": "val",
        "4": "test",
    }
    slices = [(row["patient"], int(row["rank"])) for row in rows(run / "per_slice.csv")]
    assert sorted(slices) == [(patient, rank) for patient in "1234" for rank in range(7)]
    for volume in volumes:
        counts = []
        for rank in range(7):
            with Image.open(run / "predictions" / volume.name / f"img{rank:03d}.png") as image:
                assert image.mode == "L" and image.size == (32, 32)
                predicted = np.asarray(image)
            assert set(np.unique(predicted)) <= {0, 255}
            counts.append(count(predicted > 0, volume.mask(rank) > 0))
        row = table[volume.name]
        assert [int(row[key]) for key in ("tp", "fp", "fn", "tn")] == np.sum(counts, 0).tolist()
        assert float(row["volume_dice"]) == pytest.approx(float(dice(np.sum(counts, 0))))
        assert float(row["slice_dice"]) == pytest.approx(np.nanmean(dice(np.array(counts))))
        assert int(row["both_empty"]) == np.isnan(dice(np.array(counts))).sum()
        whole, largest = (line for line in rows(run / "challenge.csv") if line["patient"] == volume.name)
        assert (whole["masks"], largest["masks"]) == ("as predicted", "largest component")
        assert float(whole["dice"]) == pytest.approx(float(row["volume_dice"]))
        assert 0 <= float(whole["score"]) <= 100


def test_scoring_shows_how_far_it_is(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(configure("epochs=1"), tmp_path)
    assert re.search(r"Scoring slices: 100%.* 28/28", capsys.readouterr().err)


def test_settings_reach_the_data_and_the_network(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def fit(trainer: L.Trainer, module: Segmenter, datamodule: ChaosDataModule, **options: object) -> None:
        given.extend([module, datamodule])
        raise ConnectionAbortedError

    monkeypatch.setattr(L.Trainer, "fit", fit)
    transform = ("preprocessing.level_hu=30", "preprocessing.width_hu=300", "augmentation.rotation.degrees=7")
    with pytest.raises(ConnectionAbortedError):
        train(configure("seed=6", "threshold=90", "loss=iou", "image_size=16", *transform), tmp_path / "run")
    module, data = given
    assert (module.seed, module.threshold, module.hparams["threshold"]) == (6, 90, 90)
    assert module.hparams["optimizer"] == {"name": "adam", "learning_rate": 1e-2}
    assert module.preprocessing == Window(16, 30, 300)
    assert module.hparams["loss"]["name"] == "iou" and module.hparams["network"]["base"] == 4
    slices = data.datasets["train"]
    assert (data.seed, data.batch_size, slices.seed, slices.preprocessing) == (6, 4, 6, Window(16, 30, 300))
    assert slices.augmentation.settings == {"rotation": {"degrees": 7.0}}
    volumes, body = data.datasets["train"].volumes, []
    for volume in volumes:
        hu = np.stack([volume.hu(rank) for rank in (0, 4)])  # every fourth of seven
        body.append(np.percentile(hu[hu > -150], (5, 50, 95), method="inverted_cdf"))
    assert [volume.name for volume in volumes] == ["1", "2"]
    assert module.training_range == {
        "spacing_mm": (list(volumes[0].mean_spacing_mm),) * 2,
        "body_hu": (np.min(body, axis=0).tolist(), np.max(body, axis=0).tolist()),
        "modality": "CT",
        "field_mm": ([n * mm for n, mm in zip(volumes[0].shape[1:], volumes[0].spacing_mm[1:], strict=True)],) * 2,
    }


def test_what_draws_with_numpy_or_torch_is_seeded_too(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of another package may."""
    drawn = []

    def fit(*args: object, **options: object) -> None:
        drawn.append((np.random.random(), torch.rand(1).item()))  # noqa: NPY002
        raise ConnectionAbortedError

    monkeypatch.setattr(L.Trainer, "fit", fit)
    for name, seed in (("a", 6), ("b", 6), ("c", 7)):
        with pytest.raises(ConnectionAbortedError):
            train(configure(f"seed={seed}"), tmp_path / name)
    assert drawn[0] == drawn[1] and not set(drawn[0]) & set(drawn[2])


def snapshot(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_run_keeps_its_loss_with_every_option(configure: Configure, tmp_path: Path) -> None:
    train(configure("loss=bce", "loss.name=iou", "epochs=1"), tmp_path)
    assert OmegaConf.load(tmp_path / "config.yaml").loss == {"name": "iou", "smooth": 1.0}
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["hyper_parameters"]["loss"]["smooth"] == 1.0


def test_data_with_errors_is_refused_unless_told_otherwise(configure: Configure, tree: Path, tmp_path: Path) -> None:
    folder = tree / "Train_Sets" / "CT" / "2" / "DICOM_anon"
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.RescaleIntercept = -2000
        dataset.save_as(path)
    with pytest.raises(UserError, match=r"(?s)The audit found .* data.audit=off:.*implausible_liver_hu, patient 2"):
        train(configure(f"data.root={tree}"), tmp_path / "run")
    train(configure(f"data.root={tree}", "data.audit=off", "epochs=1"), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["data"]["audit"] == "off"


def test_a_patient_on_both_sides_under_another_name_is_a_leak(configure: Configure, tree: Path, tmp_path: Path) -> None:
    ct = tree / "Train_Sets" / "CT"
    shutil.rmtree(ct / "4")
    shutil.copytree(ct / "1", ct / "4")
    with pytest.raises(UserError, match=r"leak.* 1, 4"):
        train(configure(f"data.root={tree}"), tmp_path / "run")


def test_warnings_of_the_audit_are_counted_at_the_start(
    configure: Configure, tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for patient in "23":
        path = next((tree / "Train_Sets" / "CT" / patient / "DICOM_anon").iterdir())
        dataset = pydicom.dcmread(path)
        dataset.PatientName = "Muster^Erika"
        dataset.save_as(path)
    with caplog.at_level("INFO"):
        train(configure(f"data.root={tree}", "epochs=1"), tmp_path / "run")
    counts = json.loads((tmp_path / "run" / "manifest.json").read_text())["data"]["audit"]
    said = f"The audit has 2 warnings, {counts['note']} notes: python -m chaos_seg.audit data.root={tree.resolve()}"
    assert counts["warning"] == 2 and counts["note"] > 1 and said in caplog.messages


def test_seeded_splits_draw_from_the_patients_with_masks(configure: Configure, tree: Path, tmp_path: Path) -> None:
    dicoms = tree / "Train_Sets" / "CT" / "1" / "DICOM_anon"
    for patient in ("11", "12", "13"):  # the challenge's test set
        shutil.copytree(dicoms, tree / "Test_Sets" / "CT" / patient / "DICOM_anon")
    config = configure(f"data.root={tree}", "data/split=kfold", "data.split.folds=4")
    sides, split = open_sides(config)
    assert sum(map(len, sides.values())) == 4 and set(split.patients) == {"1", "2", "3", "4"}


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, forward = [], DiceLoss.forward

    def fails(self: DiceLoss, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return forward(self, logits, target) * (math.nan if len(calls) > 8 else 1)

    monkeypatch.setattr(DiceLoss, "forward", fails)
    with pytest.raises(UserError, match=r"training loss became nan in epoch 1, batch \d+.*lower the learning rate"):
        train(configure("loss=dice"), tmp_path)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["epoch"] == 0
    assert "became nan" in json.loads((tmp_path / "manifest.json").read_text())["error"]
