"""The Python interface, on arrays alone."""

import warnings
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import chaos_seg
from chaos_seg.data.sources.phantom import render
from chaos_seg.errors import UserError
from chaos_seg.evaluation.chaos_metrics import chaos_scores
from chaos_seg.training.segmenter import Segmenter


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    slices = list(render(np.random.default_rng(seed), 8, 32))
    return np.stack([hu for hu, _ in slices]), np.stack([liver for _, liver in slices])


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    scans = [chaos_seg.as_scan(*phantom(seed), spacing_mm=(5, 2, 2), name=str(seed)) for seed in range(4)]
    return chaos_seg.fit(
        *(scans[:3], scans[3:]),
        epochs=40,
        batch_size=4,
        learning_rate=1e-2,
        image_size=32,
        network={"name": "unet", "base": 4, "depth": 2},
        augmentation={"rotation": {"degrees": 5}},
        accelerator="cpu",
        enable_progress_bar=False,
    )


def test_a_model_is_trained_scored_saved_and_predicts_in_three_lines(segmenter: Segmenter, tmp_path: Path) -> None:
    hu, liver = phantom(9)
    content = {
        "format": 2,
        "hyper_parameters": dict(segmenter.hparams),
        "state_dict": segmenter.state_dict(),
        "epoch": 1,
    }
    torch.save(content, tmp_path / "best.ckpt")

    model = chaos_seg.load(tmp_path / "best.ckpt")
    mask = chaos_seg.segment(hu, model)
    model.largest_component = True
    assert (chaos_seg.segment(hu, model, spacing_mm=(5, 2, 2)) <= mask).all()
    with pytest.raises(ValueError, match="expected spacing_mm for a model that sees several slices or keeps the larg"):
        chaos_seg.segment(hu, model)
    model.largest_component = False
    scores = chaos_seg.score(mask, liver, (5, 2, 2))

    assert mask.dtype == bool and mask.shape == hu.shape and scores["volume_dice"] > 0.7
    expected = chaos_scores(mask, liver, (5, 2, 2))
    assert (scores["assd_mm"], scores["score"]) == (expected.assd_mm, expected.score)
    again = chaos_seg.score_scans(model, [chaos_seg.as_scan(hu, liver, (5, 2, 2), "x")])["x"]
    assert again == {name: scores[name] for name in again}
    assert chaos_seg.segment(hu, model, threshold=250).sum() < mask.sum()
    for odd in (0.5, 255, 300):
        with pytest.raises(ValueError, match=f"expected a threshold from 1 to below 255, found {odd}"):
            chaos_seg.segment(hu, model, threshold=odd)
    with pytest.raises(ValueError, match="expected slices of HU that fit into 16 bits, found none, larger ones or NaN"):
        chaos_seg.segment(np.where(liver, np.nan, hu), model)
    with pytest.raises(ValueError, match=r"expected spacing_mm between slices, rows and columns, three above 0, found"):
        chaos_seg.segment(hu, model, spacing_mm=(1, 1))
    with pytest.raises(UserError, match=r"^slice 4 of 8: expected a picture, found one value in all pixels"):
        chaos_seg.segment(np.where(np.arange(len(hu))[:, None, None] == 3, 0, hu), model)


def test_what_a_command_would_say_of_a_scan_is_a_warning(segmenter: Segmenter) -> None:
    hu, _ = phantom(9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_trained = chaos_seg.segment(hu, segmenter, spacing_mm=np.array([5, 2, 2]))
        assert np.array_equal(as_trained, chaos_seg.segment(hu, segmenter))
    with pytest.warns(UserWarning, match="95 % of the body lies below 1158 HU; in training"):
        chaos_seg.segment(hu + 1024, segmenter, spacing_mm=(5, 2, 2))
    with pytest.warns(UserWarning, match="spacing along z is 2.00 mm; training saw 5.00 to 5.00 mm"):
        chaos_seg.segment(hu, segmenter, spacing_mm=(2, 2, 5))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        chaos_seg.score(np.zeros((2, 3, 4), bool), np.zeros((3, 2, 4), bool), (1, 1, 1))
    with pytest.raises(ValueError, match=r"expected HU \(slices, rows, columns\) and a mask like it, found \(3, 4\)"):
        chaos_seg.as_scan(np.zeros((3, 4)))
    with pytest.raises(AttributeError, match="no attribute 'masks'"):
        _ = chaos_seg.masks  # type: ignore[attr-defined]


class Slices(Dataset[dict[str, torch.Tensor]]):
    """Somebody's own data set: no store, no patients, nothing of ours."""

    def __init__(self) -> None:
        hu, liver = phantom(0)
        self.images = torch.from_numpy(hu).float()[:, None].clip(-160, 240) / 200 - 0.2
        self.masks = torch.from_numpy(liver).float()[:, None]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.images[index], "mask": self.masks[index], "index": torch.tensor(index)}


def test_a_segmenter_trains_with_a_plain_data_loader() -> None:
    module = Segmenter(
        {"name": "unet", "base": 4, "depth": 2},
        {"name": "dice"},
        {"name": "window", "image_size": 32, "level_hu": 40, "width_hu": 400},
        {"name": "adamw", "learning_rate": 1e-2},
        {"name": "cosine"},
    )
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_epochs=60, accelerator="cpu", num_sanity_val_steps=0, **quiet)  # type: ignore[arg-type]
    trainer.fit(module, DataLoader(Slices(), 4, shuffle=True), DataLoader(Slices(), 4))
    assert module.row["val/dice"] > 0.5 and module.row["train/loss"] < 0.6
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)  # the schedule ends at 0
