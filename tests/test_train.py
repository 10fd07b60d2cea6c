"""Training, scoring and resuming in this process; tests/test_commands.py does it as a user would."""

import csv
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

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
from chaos_seg.experiment import completed, train
from chaos_seg.files import write_json
from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import flat
from chaos_seg.training.checkpoints import load_segmenter, read_checkpoint
from chaos_seg.training.losses import DiceLoss
from chaos_seg.training.segmenter import Segmenter
from chaos_seg.training.trainer import first_device

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


@pytest.mark.parametrize(
    ("devices", "scored_on"), [("[3]", [3]), ("[3,1]", [3]), ("'3,'", [3]), ("'2,3'", [2]), ("2", 1), ("auto", 1)]
)
def test_scoring_keeps_the_device_that_trained(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str, scored_on: object
) -> None:
    asked: dict[str, object] = {}

    class Trainer:
        strategy = SimpleNamespace(root_device="the first")

        def __init__(self, **options: object):
            asked.update(options)

    monkeypatch.setattr(L, "Trainer", Trainer)
    config = configure("trainer=gpu", "trainer.strategy=ddp", f"trainer.devices={devices}")
    assert first_device(asdict(config.trainer), tmp_path) == "the first"
    assert (asked["devices"], asked["strategy"], asked["accelerator"]) == (scored_on, "auto", "gpu")


def test_scoring_shows_how_far_it_is(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(configure("epochs=1"), tmp_path)
    assert re.search(r"Scoring slices: 100%.* 28/28", capsys.readouterr().err)


class StopAfter(L.Callback):
    """Ends the process's work as a crash would, with nothing tidied up."""

    def __init__(self, epoch: int, batch: int):
        self.epoch, self.batch = epoch, batch

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: object, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            raise ConnectionAbortedError


@pytest.mark.parametrize(
    ("batch", "overrides"), [(0, ()), (1, ()), (3, ()), (1, ("optimizer=adamw", "scheduler=cosine"))]
)
def test_resumed_run_is_the_uninterrupted_one(
    configure: Configure,
    tmp_path: Path,
    rows: Callable,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    overrides: tuple[str, ...],
) -> None:
    train(configure("epochs=4", *overrides), tmp_path / "whole")
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
        assert same(
            weights(tmp_path / "whole" / "checkpoints" / f"{name}.ckpt"), weights(cut / "checkpoints" / f"{name}.ckpt")
        )
    timed = ("train/seconds", "train/ms_per_slice")
    untimed = [
        [{k: v for k, v in row.items() if k not in timed} for row in rows(run / "metrics.csv")]
        for run in (tmp_path / "whole", cut)
    ]
    assert untimed[0] == untimed[1] and len(untimed[0]) == 4
    assert rows(cut / "metrics.csv")[:2] == begun  # with their times: it went on, and did not start again
    manifest = json.loads((cut / "manifest.json").read_text())
    assert (manifest["status"], manifest["resumed"]) == ("finished", 1)
    assert sorted(path.name for path in (cut / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_run_stopped_before_its_first_checkpoint_starts_again(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    train(configure(f"ckpt_path={tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}"), tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["epoch"] == 1


def test_two_runs_are_equal_and_seeds_differ(configure: Configure, tmp_path: Path) -> None:
    for name, overrides in {"a": (), "b": ("num_workers=2",), "c": ("seed=1",)}.items():
        train(configure(*overrides), tmp_path / name)
    a, b, c = (weights(tmp_path / name / "checkpoints" / "last.ckpt") for name in "abc")
    assert same(a, b) and not same(a, c)


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


def test_checkpoints_hold_plain_values_and_all_that_prediction_needs(configure: Configure, tmp_path: Path) -> None:
    train(configure("preprocessing=soft_tissue"), tmp_path)
    module, epoch = load_segmenter(tmp_path / "checkpoints" / "best.ckpt")  # weights_only
    assert epoch in (0, 1)
    assert module.preprocessing == Window(32, 40, 400)
    assert not module.training and module.net.depth == 2


def test_a_used_folder_is_refused(configure: Configure, tmp_path: Path) -> None:
    train(configure(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.ckpt")}
    with pytest.raises(UserError, match=r"expected a new folder, found a run in it; resume it with resume="):
        train(configure(), tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.ckpt")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a finished run of 2 epochs is made once; not to be changed."""
    return tmp_path_factory.mktemp("finished") / "run"


def snapshot(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}


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
    if not finished.exists():
        train(configure("loss=dice"), finished)
    before = snapshot(finished)
    last = f"ckpt_path={finished / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(UserError, match=said):
        train(configure("loss=dice", last, override.format(run=finished)), finished)
    assert snapshot(finished) == before


def test_a_schedule_ends_with_the_epochs_that_its_run_began_with(configure: Configure, tmp_path: Path) -> None:
    train(configure("epochs=1", "scheduler=cosine"), tmp_path)
    last = f"ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(UserError, match="made with epochs=1, this command asks for 2"):
        train(configure("epochs=2", "scheduler=cosine", last), tmp_path)


@pytest.mark.parametrize(
    ("saved", "asked", "refused"),
    [
        (("loss=dice", "loss.smooth=5.0"), ("loss=dice", "~loss.smooth"), "loss.smooth=5.0, this command asks for 1.0"),
        (("loss=dice", "~loss.smooth"), ("loss=dice", "loss.smooth=5"), "loss.smooth=1.0, this command asks for 5.0"),
        (("loss=dice", "+loss.extra=1"), ("loss=dice",), "loss dice: got an unexpected keyword argument 'extra'"),
        (("loss=dice", "~loss.smooth"), ("loss=dice",), None),
        (("loss=dice",), ("loss=bce", "loss.name=dice"), None),
        (("loss=dice", "loss.smooth=2"), ("loss=dice", "loss.smooth=2.0"), None),
        (
            (
                "data.source.name=phantom",
                *(f"+data.source.{v}" for v in ("patients=4", "slices=7", "size=32", "seed=3")),
            ),
            (),
            "data.source.name=phantom, this command asks for chaos",
        ),
    ],
)
def test_experiments_are_compared_as_built_not_as_spelled(
    configure: Configure, tmp_path: Path, saved: tuple[str, ...], asked: tuple[str, ...], refused: str | None
) -> None:
    write_json(tmp_path / "manifest.json", {"data": {"fingerprint": "same"}})
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(asdict(configure(*saved))))
    run, settings = RunFolder(tmp_path), flat(asdict(completed(configure(*asked))))
    if refused is None:
        run.expect_same(settings, "same")
    else:
        with pytest.raises(UserError, match=refused):
            run.expect_same(settings, "same")


def test_a_run_keeps_its_loss_with_every_option(configure: Configure, tmp_path: Path) -> None:
    train(configure("loss=bce", "loss.name=iou", "epochs=1"), tmp_path)
    assert OmegaConf.load(tmp_path / "config.yaml").loss == {"name": "iou", "smooth": 1.0}
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["hyper_parameters"]["loss"]["smooth"] == 1.0


def test_other_data_does_not_resume(configure: Configure, tree: Path, tmp_path: Path) -> None:
    train(configure(f"data.root={tree}"), tmp_path / "run")
    mask = tree / "Train_Sets" / "CT" / "1" / "Ground" / "liver_GT_003.png"
    pixels = np.array(Image.open(mask))
    pixels[tuple(np.argwhere(pixels)[0])] = False
    Image.fromarray(pixels).save(mask)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=r"expected the data that the run began with \(fingerprint \w+\), found other"):
        train(configure(f"data.root={tree}", f"ckpt_path={last}"), tmp_path / "run")


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
    assert "Audit warning identity: 2, 3" in caplog.messages


def test_a_checkpoint_of_another_network_does_not_resume(configure: Configure, tmp_path: Path) -> None:
    for name, base in (("run", 4), ("other", 8)):
        train(configure("epochs=1", f"network.base={base}"), tmp_path / name)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    shutil.copy(tmp_path / "other" / "checkpoints" / "last.ckpt", last)
    with pytest.raises(
        UserError, match=r"expected a checkpoint of the network \{.*'base': 4.*found one of \{.*'base': 8"
    ):
        train(configure("epochs=2", f"ckpt_path={last}"), tmp_path / "run")


def test_a_moved_run_keeps_its_best_score(configure: Configure, tmp_path: Path, rows: Callable) -> None:
    train(configure("epochs=3"), tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    last = tmp_path / "there" / "checkpoints" / "last.ckpt"
    train(configure("epochs=4", f"ckpt_path={last}"), tmp_path / "there")
    state = next(v for k, v in read_checkpoint(last)["callbacks"].items() if "val/dice" in k)
    best = max(float(row["val/dice"]) for row in rows(tmp_path / "there" / "metrics.csv"))
    assert float(state["best_model_score"]) == pytest.approx(best, rel=1e-6)
    assert state["best_model_path"] == str(last.with_name("best.ckpt")) and not (tmp_path / "here").exists()


def test_seeded_splits_draw_from_the_patients_with_masks(configure: Configure, tree: Path, tmp_path: Path) -> None:
    dicoms = tree / "Train_Sets" / "CT" / "1" / "DICOM_anon"
    for patient in ("11", "12", "13"):  # the challenge's test set
        shutil.copytree(dicoms, tree / "Test_Sets" / "CT" / patient / "DICOM_anon")
    config = configure(f"data.root={tree}", "data/split=kfold", "data.split.folds=4")
    assert train(config, tmp_path / "run")["patients"] == 4


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("text")
    torch.save({"epoch": 0, "state_dict": {}, "hyper_parameters": {"lr": 1}}, tmp_path / "other.ckpt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "pickle.ckpt")  # would run code when loaded
    for name, said in {
        "none": "no such file",
        "text": "something else",
        "other": "another program",
        "pickle": "something else",
    }.items():
        with pytest.raises(UserError, match=rf"{name}.ckpt: expected a checkpoint.*{said}") as error:
            read_checkpoint(tmp_path / f"{name}.ckpt")
        assert "\n" not in str(error.value)


def test_weights_of_another_network(configure: Configure, tmp_path: Path) -> None:
    train(configure(), tmp_path)
    checkpoint = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    checkpoint["hyper_parameters"]["network"]["base"] = 8
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=r"changed.ckpt: expected the weights of the network \{.*'base': 8"):
        load_segmenter(tmp_path / "changed.ckpt")


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
