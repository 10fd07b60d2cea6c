"""Settings of real configurations, judged against the study's."""

from collections.abc import Callable
from dataclasses import asdict

import pytest

from chaos_seg.config import TrainConfig
from chaos_seg.reporting.deviations import deviations_table
from chaos_seg.reporting.reference import PATIENTS, SLICES
from chaos_seg.run_settings import flat


@pytest.fixture
def to_the_letter(configure: Callable[..., TrainConfig]) -> Callable[..., dict[str, object]]:
    """The settings of a run of the study's experiment, and changes of them."""
    study = ("image_size=512", "network.base=8", "network.depth=4", "batch_size=8", "learning_rate=1e-5", "epochs=400")
    ids = [f"data.split.{side}=[{','.join(members)}]" for side, members in PATIENTS.items()]
    return lambda *overrides: flat(
        asdict(configure(*study, *([] if "data/split=kfold" in overrides else ids), *overrides))
    )


def sheet(*configs: dict[str, object], slices: dict[str, int] = SLICES) -> dict[str, dict[str, object]]:
    table = deviations_table(configs, slices, synthetic=False)
    titles = [column.title for column in table.columns]
    return {str(row[0]): dict(zip(titles, row, strict=True)) for row in table.rows}


def changed(rows: dict[str, dict[str, object]]) -> set[str]:
    return {name for name, row in rows.items() if row["Mark"] == "changed"}


def test_each_setting_of_the_study_is_stated_assumed_or_changed(to_the_letter: Callable) -> None:
    for loss in ("bce", "dice", "iou"):
        letter = sheet(to_the_letter(f"loss={loss}"), to_the_letter(f"loss={loss}", "seed=3"))
        assert changed(letter) == {"Framework"}
        for name in ("Seed", "Weights that are scored", "Depth", "Place of dropout", "Smoothing of Dice and IoU loss"):
            assert letter[name]["Mark"] == "assumed", name
    other = sheet(to_the_letter("learning_rate=1e-4", "preprocessing=soft_tissue"), slices={"29": 3})
    assert changed(other) == {"Framework", "Learning rate", "Normalisation", "Patients"}


def test_every_setting_that_changes_the_experiment_is_on_the_sheet(to_the_letter: Callable) -> None:
    for override, name, here in (
        ("trainer.devices=2", "Batch size", "16: 8 on each of 2 devices"),
        ("trainer.devices=[0,3]", "Batch size", "16: 8 on each of 2 devices"),
        ("trainer.precision=16-mixed", "trainer.precision", "16-mixed"),
        ("trainer.limit_train_batches=0.1", "trainer.limit_train_batches", "0.1"),
        ("trainer.limit_train_batches=1", "trainer.limit_train_batches", "1"),  # one batch is not all
        ("trainer.strategy=ddp", "trainer.strategy", "ddp"),
        ("data.audit=off", "data.audit", "False"),
        ("network.depth=3", "Depth", "3 levels"),
        ("loss.smooth=5", "Smoothing of Dice and IoU loss", "5"),
        ("+loss.alpha=0.3", "loss.alpha", "0.3"),
    ):
        rows = sheet(to_the_letter("loss=dice", override), to_the_letter("loss=bce"))
        assert changed(rows) == {"Framework", name} and str(rows[name]["Here"]).startswith(here), override
        assert rows[name]["Why, or what it does"]
    assert sheet(to_the_letter("trainer.precision=16-mixed"))["trainer.precision"]["Why, or what it does"] == (
        "The default is 32-true."
    )
    future = {**to_the_letter(), "model.norm": "group"}  # a setting that this table has never heard of
    assert changed(sheet(future)) == {"Framework", "model.norm"}
    incidental = to_the_letter("name=x", "num_workers=3", "trainer.devices=[3]", "data.root=/elsewhere", "seed=5")
    assert changed(sheet(incidental)) == {"Framework"}  # GPU 3 alone is one device
    fold = to_the_letter("data/split=kfold")
    assert changed(sheet(fold, {**fold, "data.split.fold": 2})) == {"Framework", "Split"}


def test_what_another_network_or_preprocessing_does_is_not_said_to_be_the_studys(to_the_letter: Callable) -> None:
    unet = to_the_letter()
    other = {key: value for key, value in unet.items() if not key.startswith(("network.", "preprocessing."))}
    other |= {"network.name": "mine", "network.width": 6, "preprocessing.name": "tanh"}
    of_the_unet = ("Depth", "Upsampling", "Initial weights", "Batch normalisation", "Dropout", "Place of dropout")
    alone, both = sheet(other), sheet(unet, other)
    for name in of_the_unet:
        assert (alone[name]["Here"], alone[name]["Mark"]) == ("mine: its own way", "changed"), name
        assert str(both[name]["Here"]).endswith("; mine: its own way") and both[name]["Mark"] == "changed"
        assert alone[name]["Why, or what it does"] == "Not the study's network."
    assert alone["Normalisation"]["Here"] == alone["Range"]["Here"] == "tanh: its own way"
    assert both["Depth"]["Here"] == "4 levels; mine: its own way"
    assert alone["network.width"]["Here"] == "6"
