from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chaos_seg.config import TrainConfig
from chaos_seg.data.scan import Scan
from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.store import open_patients
from chaos_seg.errors import UserError
from chaos_seg.evaluation.masks import largest_component
from chaos_seg.experiment import train
from chaos_seg.inference.choices import chosen_device
from chaos_seg.inference.formats.png import write_png
from chaos_seg.inference.prediction import predict_scan
from chaos_seg.inference.predictor import Predictor
from chaos_seg.inference.submission import EXPECTED, completeness, faults, predict_test_set, results_folder
from chaos_seg.training.checkpoints import load_model


def read_back(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


def test_what_is_wrong_with_a_folder_is_named(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((4, 6, 5)) > 0.5
    folder = tmp_path / "Results"
    write_png(mask, folder)
    assert faults(folder, mask) == [] and (read_back(folder) == mask * 255).all()
    other = mask.copy()
    other[2] = ~other[2]
    assert faults(folder, other) == [f"{folder / 'img002.png'}: expected the mask of this slice, found another"]
    assert len(faults(folder, mask[::-1])) == 4  # the wrong order
    assert "expected 8 bit, (5, 6), found mode L, (6, 5)" in faults(folder, mask.transpose(0, 2, 1))[0]
    Image.fromarray(mask[1].astype(np.uint8)).save(folder / "img001.png")
    assert "img001.png: expected 0 and 255 alone" in faults(folder, mask)[0]
    (folder / "img001.png").write_bytes(b"no picture")
    assert "img001.png: expected a PNG" in faults(folder, mask)[0]
    (folder / "img001.png").rename(folder / "img009.png")
    (told,) = faults(folder, mask)
    assert told.startswith(f"{folder}: expected 4 files, img000.png to img003.png, found 4; ")
    assert told.endswith("img001.png is missing, img009.png is none of them")
    assert "found 0; img000.png is missing" in faults(tmp_path / "nothing", mask)[0]


def test_the_challenges_patients_are_counted() -> None:
    assert len(EXPECTED) == 20 and completeness(EXPECTED) == []
    assert completeness([*EXPECTED[1:], "99"]) == [
        "1 of the challenge's 20 patients are missing: 3",
        "not the challenge's: 99",
    ]


class Bright:
    """Stands for a predictor: liver is what is bright."""

    def passes(self, scan: Scan) -> Iterator[np.ndarray]:
        for rank in range(scan.slices):
            yield (scan.hu(rank)[None] > 0).astype(np.float32)


def test_the_largest_part_is_cut_from_bridges_in_mm_and_along_the_body(tmp_path: Path) -> None:
    hu = np.full((8, 60, 60), -100, np.int16)
    hu[:6, 10:30, 10:30] = 100
    hu[:, 40:50, 40:50] = 100
    hu[3, 30:41, 20:22] = hu[3, 39:41, 20:41] = 100  # 2 mm wide, 4 of rows that are 2 mm apart
    order = np.array([4, 0, 7, 2, 6, 1, 5, 3])
    places = np.outer(order, (0, 0, -3.0))
    scan = Scan("3", (), hu.shape, places, np.array([0, 2.0, 0]), np.array([1.0, 0, 0]), hu[order].__getitem__)
    predictor: Any = Bright()
    predict_test_set([scan], predictor, 100, True, tmp_path)
    found = read_back(results_folder(tmp_path, "3")) > 0
    alone = np.stack([*largest_component(hu > 0, (2.0, 1.0))])
    assert np.array_equal(found, alone[order]) and found[:, 10:30, 10:30].sum() > 2000 and not found[:, 40:50].any()
    blank = replace(scan, read=lambda rank: hu[order[rank]] * (rank != 0))
    with pytest.raises(
        UserError,
        match=r"^patient 3: expected a scan that can be predicted, found none:\n  1. slice 1 of 8: expected a picture",
    ):
        predict_test_set([blank], predictor, 100, True, tmp_path)


def test_predictions_are_those_of_the_tables(configure: Callable[..., TrainConfig], tmp_path: Path) -> None:
    """The predictor gives the masks that evaluate wrote, whatever its batch size; two of one model are that model."""
    config = configure("epochs=20", "image_size=16", "threshold=60", "preprocessing=soft_tissue", "loss=dice")
    train(config, tmp_path / "run")
    segmenter, _ = load_model(tmp_path / "run" / "checkpoints" / "best.ckpt")
    (volume,) = open_patients(Path(config.data.store), chaos(Path(str(config.data.root))), ["4"])
    written = read_back(tmp_path / "run" / "predictions" / "4")
    assert 0 < written.mean() < 255
    for predictor in (
        Predictor([segmenter], chosen_device("cpu"), 1),
        Predictor([segmenter], chosen_device("auto"), 5),
        Predictor([segmenter, segmenter], chosen_device("cpu"), 8),
    ):
        mask = predict_scan(volume, predictor, 60, largest_component=False, fill_holes=False).mask
        assert (np.stack(mask) * 255 == written).mean() > 0.9999  # sums in another order
