from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from chaos_seg.data.datamodule import ChaosDataModule
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.preprocessing import Window
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from chaos_seg.errors import UserError
from chaos_seg.evaluation.counts import accuracy, count, dice, precision, recall
from chaos_seg.files import read_csv
from chaos_seg.registry import LOSSES
from chaos_seg.training.loggers import EpochTable
from chaos_seg.training.losses import DiceLoss
from chaos_seg.training.segmenter import Segmenter, smaller_mask
from chaos_seg.training.slice_counts import SliceCounts


def segmenter(loss: str = "dice", **changed: object) -> Segmenter:
    settings = {
        "network": {"name": "unet", "base": 4, "depth": 2, "dropout": 0.0},
        "loss": {"name": loss},
        "preprocessing": {"name": "window", "image_size": 32, "level_hu": 0, "width_hu": 2800},
        "optimizer": {"name": "adam", "learning_rate": 1e-2},
        "threshold": 100,
    }
    return Segmenter(**{**settings, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", LOSSES.names())
def test_every_loss_overfits_one_batch(loss: str, phantom_root: Path, tmp_path: Path) -> None:
    volumes = open_volumes(tmp_path, list(find_patients(phantom_root).values())[:1])
    dataset = SliceDataset(volumes, Window(32, 40.0, 400.0))
    samples = [dataset[index] for index in range(2, 6)]
    image, mask = (torch.stack([sample[key] for sample in samples]) for key in ("image", "mask"))
    module = segmenter(loss)
    optimizer = module.configure_optimizers()
    for _ in range(150):
        optimizer.zero_grad()
        module.loss(module(image), mask).backward()
        optimizer.step()
    predicted = module(image) > module.logit_threshold
    assert dice(count(predicted.numpy(), mask.numpy() > 0)) > 0.98


def test_is_a_lightning_module_with_adam_at_the_given_rate() -> None:
    optimizer = segmenter(optimizer={"name": "adam", "learning_rate": 1e-5}).configure_optimizers()
    assert isinstance(segmenter(), L.LightningModule) and isinstance(optimizer, torch.optim.Adam)
    assert optimizer.defaults == torch.optim.Adam([torch.zeros(1)], lr=1e-5).defaults


def test_training_begins_with_lean_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    monkeypatch.setattr("chaos_seg.training.segmenter.lean_memory", lambda: begun.append(True))
    segmenter().on_fit_start()
    assert begun == [True]


def test_dropout_is_a_function_of_seed_epoch_batch_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(seed: int, epoch: int, batch: int, process: int) -> float:
        monkeypatch.setattr(Segmenter, "current_epoch", epoch)
        monkeypatch.setattr(Segmenter, "global_rank", process)
        module = segmenter(seed=seed)
        torch.rand(3)
        module.on_train_batch_start({}, batch)  # type: ignore[typeddict-item]
        return torch.rand(1).item()

    places = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({drawn(*place) for place in places}) == 5
    assert drawn(3, 2, 1, 0) == drawn(3, 2, 1, 0)


@pytest.mark.parametrize("loss", [float("inf"), float("-inf"), float("nan")])
def test_a_loss_that_is_not_finite_is_an_error(loss: float) -> None:
    module = segmenter()
    module.train_counts, module.loss = SliceCounts(1), torch.nn.MSELoss()
    module.loss.forward = lambda logits, mask: torch.tensor(loss)  # type: ignore[method-assign]
    module.on_train_epoch_start()
    batch: Any = {"image": torch.zeros(1, 1, 8, 8), "mask": torch.zeros(1, 1, 8, 8), "index": torch.tensor([0])}
    with pytest.raises(UserError, match=f"training loss became {loss} in epoch 0, batch 5"):
        module.training_step(batch, 5)


def test_a_checkpoint_keeps_what_the_training_scans_were_like() -> None:
    module, checkpoint = segmenter(), {}  # type: ignore[var-annotated]
    module.training_range = {"spacing_mm": [[1.0], [2.0]]}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["training_range"] == module.training_range


class Witness(L.Callback):
    """What each batch held and the network said of it, and the slices counted at the end of each training epoch."""

    def __init__(self, module: Segmenter):
        self.logits: list[torch.Tensor] = []
        self.batches: list[tuple[str, dict[str, torch.Tensor]]] = []
        self.counted: list[list[int]] = []
        module.net.register_forward_hook(lambda net, image, logits: self.logits.append(logits.detach().clone()))

    def on_train_batch_end(self, trainer: object, module: object, outputs: object, batch: Any, index: int) -> None:
        self.batches.append(("train", batch))

    def on_validation_batch_end(self, trainer: object, module: object, outputs: object, batch: Any, index: int) -> None:
        self.batches.append(("val", batch))

    def on_train_epoch_end(self, trainer: object, module: Any) -> None:
        self.counted.append(torch.nonzero(module.train_counts.compute().sum(1))[:, 0].tolist())


def fitted(root: Path, folder: Path, **options: Any) -> tuple[Witness, dict[str, str]]:
    """Patients 1 and 3 trained on, 2 and 4 validated, in batches of 4; returns the last row of metrics.csv too."""
    volumes = open_volumes(folder, find_patients(root).values())
    data = ChaosDataModule({"train": volumes[::2], "val": volumes[1::2]}, Window(32, 40.0, 400.0), batch_size=4)
    module = segmenter(threshold=150)
    witness, table = Witness(module), EpochTable(folder / "metrics.csv")
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    options |= {"accelerator": "cpu", "num_sanity_val_steps": 0, "log_every_n_steps": 1, **quiet}
    trainer = L.Trainer(logger=[table], callbacks=[witness], **options)
    trainer.fit(module, datamodule=data)
    return witness, read_csv(folder / "metrics.csv")[-1]


def test_an_epochs_row_is_that_of_its_slices(phantom_root: Path, tmp_path: Path) -> None:
    """Loss: mean over slices, the last batch of two sides being smaller. Scores: by patient, then their mean."""
    witness, row = fitted(phantom_root, tmp_path, max_epochs=1)
    assert float(row["train/ms_per_slice"]) == pytest.approx(1000 * float(row["train/seconds"]) / 14)
    for side in ("train", "val"):
        seen = [(b, logits) for (s, b), logits in zip(witness.batches, witness.logits, strict=True) if s == side]
        assert [len(logits) for _, logits in seen] == [4, 4, 4, 2]
        losses = [DiceLoss()(logits, batch["mask"]).item() for batch, logits in seen]
        assert float(row[f"{side}/loss"]) == pytest.approx(np.average(losses, weights=[4, 4, 4, 2]), rel=1e-5)
        counts = np.zeros((2, 4), int)
        for batch, logits in seen:
            for index, said, mask in zip(batch["index"].tolist(), logits, batch["mask"], strict=True):
                counts[index // 7] += count((said.sigmoid() * 255 > 150).numpy(), mask.numpy() > 0)
        for score in (accuracy, precision, recall, dice):
            of_patients = score(counts)
            assert of_patients[0] != of_patients[1]
            assert float(row[f"{side}/{score.__name__}"]) == pytest.approx(of_patients.mean())


def test_an_epoch_counts_its_own_slices_alone(phantom_root: Path, tmp_path: Path) -> None:
    witness, row = fitted(phantom_root, tmp_path, max_epochs=2, limit_train_batches=1)
    batches = [sorted(batch["index"].tolist()) for side, batch in witness.batches if side == "train"]
    assert witness.counted == batches and batches[0] != batches[1]
    of_last = DiceLoss()(witness.logits[5], witness.batches[5][1]["mask"]).item()  # 1 + 4 batches came before
    assert float(row["train/loss"]) == pytest.approx(of_last, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"num_sanity_val_steps": 2}, {"limit_val_batches": 0}, {"check_val_every_n_epoch": 2}],
    ids=lambda options: next(iter(options)),
)
def test_trains_with_a_trainer_of_other_habits(phantom_root: Path, tmp_path: Path, options: dict[str, int]) -> None:
    volumes = open_volumes(tmp_path, find_patients(phantom_root).values())
    data = ChaosDataModule({"train": volumes[::2], "val": volumes[1::2]}, Window(32, 40.0, 400.0), batch_size=4)
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=CSVLogger(tmp_path / "log"), **quiet, **options)
    module = segmenter()
    trainer.fit(module, datamodule=data)
    assert module.row["train/loss"] < 1 and ("val/dice" in module.row) == ("limit_val_batches" not in options)


def test_the_loss_of_several_sizes_is_their_weighted_mean() -> None:
    module = segmenter(network={"name": "resunet", "base": 2, "depth": 3, "deep_supervision": True})
    mask = (torch.rand(2, 1, 32, 32) > 0.5).float()
    fine, coarse = torch.randn(2, 1, 32, 32), torch.randn(2, 1, 16, 16)
    expected = (module.loss(fine, mask) + module.loss(coarse, smaller_mask(mask, 16)) / 2) / 1.5
    assert torch.allclose(module._loss_of((fine, coarse), mask), expected)
    assert torch.equal(module._loss_of(fine, mask), module.loss(fine, mask))
    loss = module._loss_of(module.train()(torch.zeros(2, 1, 32, 32)), mask)
    loss.backward()
    assert all(parameter.grad is not None for parameter in module.net.heads.parameters())
