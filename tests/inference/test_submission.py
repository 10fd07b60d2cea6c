from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from chaos_seg.config import TrainConfig
from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.store import open_patients
from chaos_seg.experiment import train
from chaos_seg.inference.choices import chosen_device
from chaos_seg.inference.formats.png import write_png
from chaos_seg.inference.predictor import Predictor
from chaos_seg.inference.submission import EXPECTED, completeness, faults
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
        assert (np.stack(predictor.mask(volume, 60)) * 255 == written).mean() > 0.9999  # sums in another order
