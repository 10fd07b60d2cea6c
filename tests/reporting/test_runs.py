import shutil
from pathlib import Path

import pytest

from chaos_seg.errors import UserError
from chaos_seg.files import read_json, write_json
from chaos_seg.reporting.comparison import (
    metrics_table,
)
from chaos_seg.reporting.runs import arm_names, paired, read_runs
from chaos_seg.reporting.thresholds import threshold_table


def test_arms_are_named_by_what_differs() -> None:
    bce = {"loss.name": "bce", "seed": 0, "learning_rate": 1e-3}
    dice = {"loss.name": "dice", "loss.smooth": 1.0, "seed": 0, "learning_rate": 1e-3}
    assert arm_names([bce, dice]) == ["bce", "dice"]  # an option of one loss is no difference
    assert arm_names([bce, {**bce, "seed": 1, "data.split.fold": 2, "trainer.accelerator": "gpu"}]) == ["bce", "bce"]
    few = {**bce, "trainer.limit_train_batches": 0.1}
    assert arm_names([few, {**few, "trainer.limit_train_batches": 1.0}])[0] == "bce, trainer.limit_train_batches=0.1"
    unet, plain = (
        {**bce, "network.name": name, f"network.{key}": 8} for name, key in (("unet", "base"), ("plain", "width"))
    )
    assert arm_names([unet, plain]) == ["bce, unet", "bce, plain"]  # the options of each are its own
    assert arm_names([unet, {**unet, "network.base": 16}, plain]) == [
        "bce, unet, network.base=8",
        "bce, unet, network.base=16",
        "bce, plain",
    ]
    assert arm_names([bce, {**bce, "learning_rate": 0.1}]) == ["bce, learning_rate=0.001", "bce, learning_rate=0.1"]
    assert arm_names([bce, dice, {**dice, "loss.smooth": 2.0}]) == [
        "bce",
        "dice, loss.smooth=1.0",
        "dice, loss.smooth=2.0",
    ]


def test_in_an_ablation_each_is_named_by_what_is_special() -> None:
    best = {"loss.name": "dice_bce", "network.name": "resunet", "network.base": 16, "seed": 0}
    best |= {"augmentation.affine.degrees": 15, "augmentation.affine.scale": 0.2, "preprocessing.crop": False}
    still = {key: value for key, value in best.items() if "affine" not in key}
    other = {**best, "network.name": "unet", "network.base": 8}
    crop, dice = {**best, "preprocessing.crop": True}, {**best, "loss.name": "dice"}
    assert arm_names([best, {**best, "seed": 1}, still, other, crop, dice, {**best, "network.base": 32}]) == [
        *("dice_bce", "dice_bce", "dice_bce, without affine", "dice_bce, unet, network.base=8"),
        *("dice_bce, preprocessing.crop=True", "dice", "dice_bce, network.base=32"),
    ]


def test_folders_of_runs_are_read_back(pair: tuple[Path, Path], tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(run, tmp_path / run.name)) for run in pair]
    runs = read_runs(folders)
    assert [one.arm for one in runs] == ["dice", "iou"]
    for one in runs:
        by_patient = {row.patient: row for row in one.scores}
        assert one.summary["averages"]["volume_dice"]["test"] == pytest.approx(
            by_patient["4"].values["volume_dice"], nan_ok=True
        )
        assert one.patients("train") == ["1", "2"] and len(one.slices["3"]) == 7
        assert one.levels["4"].sum() == 7 * 32 * 32
        assert one.config["trainer.devices"] == one.manifest["processes"] == 1
    assert paired(runs, "val", "volume_dice").patients == ("3",) and len(metrics_table(runs).rows) == 6
    table = threshold_table(runs)
    for row, one in zip(table.rows, runs, strict=True):
        assert row[1] == 100 and row[2] == pytest.approx(
            {r.patient: r for r in one.scores}["4"].values["volume_dice"], nan_ok=True
        )

    write_json(folders[1] / "summary.json", {**read_json(folders[1] / "summary.json"), "data_fingerprint": "other"})
    with pytest.raises(UserError, match="expected runs on the same data"):
        read_runs(folders)
    table_path = folders[0] / "challenge.csv"
    table_path.write_text(table_path.read_text().replace("hd95_mm", "other", 1))
    with pytest.raises(UserError, match="expected the column hd95_mm"):
        read_runs(folders[:1])
    with pytest.raises(UserError, match="expected a finished run"):
        read_runs([tmp_path])
