from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.data.store import StoredScan, data_hash, open_volumes
from chaos_seg.evaluation.chaos_metrics import chaos_scores
from chaos_seg.evaluation.counts import count
from chaos_seg.evaluation.masks import far_errors
from chaos_seg.files import read_csv, write_csv
from chaos_seg.inference.predictor import Predictor
from chaos_seg.run_folder import RunFolder
from chaos_seg.scoring.run import example_slices, score_run, score_sides
from chaos_seg.scoring.scan import FAR_MM
from chaos_seg.training.segmenter import Segmenter


def png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def scored(
    given: Callable[..., Segmenter], tmp_path: Path
) -> Callable[[dict[str, list[StoredScan]], Callable[[int], np.ndarray]], Path]:
    """Scores a model whose mask of each slice, by its index, is given; returns the folder of the tables."""

    def score(sides: dict[str, list[StoredScan]], mask: Callable[[int], np.ndarray]) -> Path:
        size = sides["val"][0].shape[1]
        slices = sum(volume.slices for volumes in sides.values() for volume in volumes)
        model = given(size, (mask(index) for index in range(slices)))
        model.threshold = 100.0
        score_sides(Predictor([model], torch.device("cpu"), 4), sides, RunFolder(tmp_path / "scores"), 100)
        return tmp_path / "scores"

    return score


def test_tables_are_those_of_whole_patients_in_mm(volumes: list[StoredScan], scored: Callable[..., Path]) -> None:
    """The masks lie one slice too far down: 34 mm of the phantom."""
    sides = {"train": [volumes[1]], "val": [volumes[0]]}
    order = [volumes[1], volumes[0]]
    folder = scored(sides, lambda index: order[index // 7].mask(max(index % 7 - 1, 0)))
    per_slice, per_patient = read_csv(folder / "per_slice.csv"), read_csv(folder / "per_patient.csv")
    assert [(row["patient"], row["side"]) for row in per_patient] == [("2", "train"), ("1", "val")]
    for place, volume in enumerate(order):
        true = np.stack([volume.mask(rank) for rank in range(7)])
        predicted = np.concatenate([true[:1], true[:-1]])
        expected = chaos_scores(predicted, true, volume.mean_spacing_mm)
        whole = next(
            row
            for row in read_csv(folder / "challenge.csv")
            if row["patient"] == volume.name and row["masks"][:2] == "as"
        )
        assert [float(whole[key]) for key in ("dice", "ravd_percent", "assd_mm", "mssd_mm", "score")] == [
            *(expected.dice, expected.ravd_percent, expected.assd_mm, expected.mssd_mm, expected.score)
        ]
        assert expected.mssd_mm > 30 and whole["side"] == ("train", "val")[place]
        for rank, row in enumerate(per_slice[7 * place : 7 * place + 7]):
            assert (row["patient"], int(row["rank"])) == (volume.name, rank)
            assert float(row["z_mm"]) == volume.z_mm[rank]
            counts = count(predicted[rank] > 0, true[rank] > 0).tolist()
            assert [int(row[key]) for key in ("tp", "fp", "fn", "tn")] == counts
            far = far_errors(predicted[rank] > 0, true[rank] > 0, volume.mean_spacing_mm[1:], FAR_MM)
            assert (int(row["fp_far"]), int(row["fn_far"])) == far


def test_a_run_is_scored_at_its_own_threshold_and_shows_slices_of_the_test_side(
    volumes: list[StoredScan], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "network": {"name": "unet", "base": 2, "depth": 1, "dropout": 0.0},
        "loss": {"name": "iou"},
        "preprocessing": {"name": "window", "image_size": 32, "level_hu": 40, "width_hu": 400},
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
        "threshold": 77.0,
        "seed": 0,
    }
    scores = ("loss", "accuracy", "precision", "recall", "dice")
    epoch = {f"{side}/{score}": 0.5 for side in ("train", "val") for score in scores}
    write_csv(tmp_path / "metrics.csv", [{"epoch": 0, **epoch}, {"epoch": 1, **epoch}])
    sides, output = {"val": [volumes[0]], "test": [volumes[1]]}, tmp_path / "scores"
    model = Segmenter(**settings)
    predictor = Predictor([model], torch.device("cpu"), 4)
    run = RunFolder(tmp_path)
    summary = score_run(run, predictor, ("last.ckpt", 3), sides, RunFolder(output), model.threshold)
    told = [summary[key] for key in ("loss", "checkpoint", "epoch", "threshold", "patients", "data_fingerprint")]
    assert told == ["iou", "last.ckpt", 3, 77, 2, data_hash(volumes)]
    assert {(example["patient"], example["side"]) for example in summary["slices"].values()} == {("2", "test")}
    levels = read_csv(output / "calibration.csv")
    for row in read_csv(output / "per_patient.csv"):
        above = [level for level in levels if level["patient"] == row["patient"] and int(level["level"]) > 77]
        assert sum(int(level["liver"]) for level in above) == int(row["tp"])


def test_the_better_of_two_slices_in_the_middle_is_the_median() -> None:
    of_counts = [(9, 0, 0, 9), (8, 1, 1, 9), (5, 1, 1, 9), (1, 1, 1, 9), (0, 5, 0, 9)]
    rows = [dict(zip(("tp", "fp", "fn", "tn"), counts, strict=True)) for counts in of_counts]
    assert example_slices(rows) == {"best": rows[0], "median": rows[1], "worst": rows[3]}


def test_example_slices_are_the_best_the_median_and_the_worst_with_liver() -> None:
    def row(rank: int, tp: int, fp: int, fn: int) -> dict[str, int]:
        return {"rank": rank, "tp": tp, "fp": fp, "fn": fn, "tn": 9}

    slices = [row(0, 0, 5, 0), row(1, 8, 1, 1), row(2, 4, 0, 0), row(3, 9, 0, 0), row(4, 0, 3, 1), row(5, 0, 0, 2)]
    assert {kind: chosen["rank"] for kind, chosen in example_slices(slices).items()} == {
        "best": 3,  # as good as 2, with more liver
        "median": 1,
        "worst": 5,
    }
    assert example_slices(slices[:1]) == example_slices([]) == {}


def test_one_slice_has_no_z_and_is_scored_all_the_same(scored: Callable[..., Path], tmp_path: Path) -> None:
    root = write_phantom(tmp_path, Phantom(patients=1, slices=1, size=32, seed=3))
    (volume,) = open_volumes(tmp_path / "store", find_patients(root).values())
    assert volume.mean_spacing_mm[0] == 0 and volume.mask(0).any()
    folder = scored({"val": [volume]}, lambda index: volume.mask(0))
    assert [row["score"] for row in read_csv(folder / "challenge.csv")] == ["100.0", "100.0"]
