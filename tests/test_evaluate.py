from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from chaos_seg.config import TrainConfig
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.data.store import Volume, fingerprint, open_volumes
from chaos_seg.data.transforms import resize_image
from chaos_seg.errors import UserError
from chaos_seg.evaluate import FAR_MM, MaskWriter, evaluate, evaluate_run, example_slices, trained_config
from chaos_seg.evaluation.calibration import count_levels
from chaos_seg.evaluation.chaos_metrics import chaos_scores
from chaos_seg.evaluation.counts import count
from chaos_seg.evaluation.masks import far_errors
from chaos_seg.files import read_csv, write_csv
from chaos_seg.training.segmenter import Segmenter


@pytest.fixture
def volumes(phantom_root: Path, tmp_path: Path) -> list[Volume]:
    return open_volumes(tmp_path / "store", list(find_patients(phantom_root).values())[:2])


def written(writer: MaskWriter, index: list[int], probability: np.ndarray) -> None:
    writer.write_on_batch_end(None, None, torch.from_numpy(probability)[:, None], None, {"index": torch.tensor(index)})


def png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_liver_is_above_the_threshold_not_at_it(volumes: list[Volume], tmp_path: Path) -> None:
    writer = MaskWriter(SliceDataset(volumes, 32, 40, 400), tmp_path / "masks", threshold=127.5)
    probability = np.full((1, 32, 32), 0.5, np.float32)
    probability[0, 3, 4:6] = np.nextafter(np.float32(0.5), np.float32(1)), 0.75
    written(writer, [9], probability)
    mask = png(tmp_path / "masks" / "2" / "img002.png")  # index 9 is slice 2 of the second patient
    assert np.argwhere(mask).tolist() == [[3, 4], [3, 5]] and mask.max() == 255


def test_probabilities_are_resized_before_they_become_a_mask(volumes: list[Volume], tmp_path: Path) -> None:
    volumes = [replace(volume, meta=replace(volume.meta, spacing_mm=(30.0, 1.0, 2.0))) for volume in volumes]
    writer = MaskWriter(SliceDataset(volumes, 16, 40, 400), tmp_path / "masks", threshold=60)
    probability = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    written(writer, [10, 3], probability)
    for row, index, volume in ((0, 10, volumes[1]), (1, 3, volumes[0])):
        whole, true = resize_image(probability[row], (32, 32)), volume.mask(3) > 0
        predicted = whole * 255 > 60
        first_cut = resize_image((probability[row] * 255 > 60).astype(np.float32), (32, 32)) * 255 > 60
        assert not np.array_equal(predicted, first_cut)
        assert np.array_equal(png(tmp_path / "masks" / volume.patient / "img003.png") > 0, predicted)
        assert writer.counts[index].tolist() == count(predicted, true).tolist()
        assert tuple(writer.far[index]) == far_errors(predicted, true, volume.meta.spacing_mm[1:], FAR_MM) != (0, 0)
        assert np.array_equal(writer.levels[volumes.index(volume)], count_levels(whole, true))
    assert np.count_nonzero(writer.counts.any(axis=1)) == 2
    written(writer, [12], probability[:1])
    assert writer.levels.sum(axis=(1, 2)).tolist() == [32 * 32, 2 * 32 * 32]


@pytest.fixture
def scored(
    configure: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, list[Volume]], Callable[[int], np.ndarray]], Path]:
    """Scores a model whose mask of each slice, by its index, is given; returns the folder of the tables."""

    def score(sides: dict[str, list[Volume]], mask: Callable[[int], np.ndarray]) -> Path:
        def predicted(self: Segmenter, batch: dict[str, torch.Tensor], batch_index: int) -> torch.Tensor:
            return torch.from_numpy(np.stack([mask(index) for index in batch["index"].tolist()]))[:, None].float()

        monkeypatch.setattr(Segmenter, "predict_step", predicted)
        size = sides["val"][0].meta.shape[1]
        preprocessing = {"image_size": size, "level_hu": 40, "width_hu": 400}
        model = Segmenter({"base": 2, "depth": 1, "dropout": 0}, {"name": "dice"}, preprocessing, 1e-3)
        evaluate(model, sides, tmp_path / "scores", 100, 4, 0, configure().trainer)
        return tmp_path / "scores"

    return score


def test_tables_are_those_of_whole_patients_in_mm(volumes: list[Volume], scored: Callable[..., Path]) -> None:
    """The masks lie one slice too far down: 34 mm of the phantom."""
    sides = {"train": [volumes[1]], "val": [volumes[0]]}
    order = [volumes[1], volumes[0]]
    folder = scored(sides, lambda index: order[index // 7].mask(max(index % 7 - 1, 0)))
    per_slice, per_patient = read_csv(folder / "per_slice.csv"), read_csv(folder / "per_patient.csv")
    assert [(row["patient"], row["side"]) for row in per_patient] == [("2", "train"), ("1", "val")]
    for place, volume in enumerate(order):
        true = np.stack([volume.mask(rank) for rank in range(7)])
        predicted = np.concatenate([true[:1], true[:-1]])
        expected = chaos_scores(predicted, true, volume.meta.spacing_mm)
        whole = next(
            row
            for row in read_csv(folder / "challenge.csv")
            if row["patient"] == volume.patient and row["masks"][:2] == "as"
        )
        assert [float(whole[key]) for key in ("dice", "ravd_percent", "assd_mm", "mssd_mm", "score")] == [
            *(expected.dice, expected.ravd_percent, expected.assd_mm, expected.mssd_mm, expected.score)
        ]
        assert expected.mssd_mm > 30 and whole["side"] == ("train", "val")[place]
        for rank, row in enumerate(per_slice[7 * place : 7 * place + 7]):
            assert (row["patient"], int(row["rank"])) == (volume.patient, rank)
            assert float(row["z_mm"]) == volume.meta.z_mm[rank]
            counts = count(predicted[rank] > 0, true[rank] > 0).tolist()
            assert [int(row[key]) for key in ("tp", "fp", "fn", "tn")] == counts
            far = far_errors(predicted[rank] > 0, true[rank] > 0, volume.meta.spacing_mm[1:], FAR_MM)
            assert (int(row["fp_far"]), int(row["fn_far"])) == far


def test_a_run_is_scored_at_its_own_threshold_and_shows_slices_of_the_test_side(
    volumes: list[Volume], configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "model": {"base": 2, "depth": 1, "dropout": 0.0},
        "loss": {"name": "iou"},
        "preprocessing": {"image_size": 32, "level_hu": 40, "width_hu": 400},
        "learning_rate": 1e-3,
        "threshold": 77.0,
        "seed": 0,
    }
    content = {"hyper_parameters": settings, "state_dict": Segmenter(**settings).state_dict(), "epoch": 3}
    torch.save(content, tmp_path / "last.ckpt")
    scores = ("loss", "accuracy", "precision", "recall", "dice")
    epoch = {f"{side}/{score}": 0.5 for side in ("train", "val") for score in scores}
    write_csv(tmp_path / "metrics.csv", [{"epoch": 0, **epoch}, {"epoch": 1, **epoch}])
    sides, output = {"val": [volumes[0]], "test": [volumes[1]]}, tmp_path / "scores"
    summary = evaluate_run(tmp_path, tmp_path / "last.ckpt", sides, output, None, 4, 0, configure().trainer)
    told = [summary[key] for key in ("loss", "checkpoint", "epoch", "threshold", "patients", "data_fingerprint")]
    assert told == ["iou", "last.ckpt", 3, 77, 2, fingerprint(volumes)]
    assert {(example["patient"], example["side"]) for example in summary["slices"].values()} == {("2", "test")}
    levels = read_csv(output / "calibration.csv")
    for row in read_csv(output / "per_patient.csv"):
        above = [level for level in levels if level["patient"] == row["patient"] and int(level["level"]) > 77]
        assert sum(int(level["liver"]) for level in above) == int(row["tp"])


def test_the_better_of_two_slices_in_the_middle_is_the_median() -> None:
    of_counts = [(9, 0, 0, 9), (8, 1, 1, 9), (5, 1, 1, 9), (1, 1, 1, 9), (0, 5, 0, 9)]
    rows = [dict(zip(("tp", "fp", "fn", "tn"), map(str, counts), strict=True)) for counts in of_counts]
    assert example_slices(rows) == {"best": rows[0], "median": rows[1], "worst": rows[3]}


def test_another_root_takes_the_place_of_a_runs_phantom(configure: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = configure()
    config.data.phantom = Phantom(patients=4, slices=7, size=32, seed=3)
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(asdict(config)))
    with pytest.raises(UserError, match=r"found no split.json, manifest.json in it"):
        trained_config(tmp_path, None, None)
    for name in ("split.json", "manifest.json"):
        (tmp_path / name).write_text("{}")
    assert trained_config(tmp_path, None, None).data == config.data
    moved = trained_config(tmp_path, str(tmp_path / "other"), str(tmp_path / "fast")).data
    assert (moved.tree(), moved.store) == (tmp_path / "other", str(tmp_path / "fast"))


def test_one_slice_has_no_z_and_is_scored_all_the_same(scored: Callable[..., Path], tmp_path: Path) -> None:
    root = write_phantom(tmp_path, Phantom(patients=1, slices=1, size=32, seed=3))
    (volume,) = open_volumes(tmp_path / "store", find_patients(root).values())
    assert volume.meta.spacing_mm[0] == 0 and volume.mask(0).any()
    folder = scored({"val": [volume]}, lambda index: volume.mask(0))
    assert [row["score"] for row in read_csv(folder / "challenge.csv")] == ["100.0", "100.0"]
