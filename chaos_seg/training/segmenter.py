"""The LightningModule: network, loss, optimiser, and counts of every slice."""

import time
from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch.nn import functional
from torchmetrics import MeanMetric

from chaos_seg.data.dataset import Sample
from chaos_seg.errors import UserError
from chaos_seg.evaluation import counts as score
from chaos_seg.networks.model import Model
from chaos_seg.registry import LOSSES, OPTIMIZERS, SCHEDULERS
from chaos_seg.training.checkpoints import FORMAT
from chaos_seg.training.memory import lean_memory
from chaos_seg.training.slice_counts import SliceCounts


def smaller_mask(mask: torch.Tensor, rows: int) -> torch.Tensor:
    """A mask (N, 1, H, W) of 0 and 1 at a whole part of its size, as resize_mask() makes one: a pixel is liver when
    more than half of its area is, and of those that are just half every other one.
    """
    area = functional.avg_pool2d(mask, mask.shape[2] // rows)
    down, right = (torch.arange(n) for n in area.shape[2:])
    every_other = ((down[:, None] + right) % 2).to(mask)
    return torch.where(area == 0.5, every_other, (area > 0.5).to(mask.dtype))


class Segmenter(Model, L.LightningModule):
    """A Model and how it learns; it trains with any DataLoader of Samples.

    Its checkpoint holds plain values only, and all that prediction needs: network, preprocessing and threshold.
    """

    def __init__(
        self,
        network: dict[str, Any],
        loss: dict[str, Any],
        preprocessing: dict[str, Any],
        optimizer: dict[str, Any],
        scheduler: dict[str, Any] | None = None,
        threshold: float = 100,
        seed: int = 0,
    ):
        super().__init__(network, loss, preprocessing, optimizer, scheduler, threshold, seed)
        self.expect_logits(in_training=True)
        self.save_hyperparameters(self.settings)
        if begin := getattr(self.net, "begin", None):
            begin()  # with weights that it knows of; a trained model needs them no more
        self.loss = LOSSES.build(self.settings["loss"])
        optimizer = OPTIMIZERS.build(self.settings["optimizer"], self.net.parameters())
        SCHEDULERS.build(self.settings["scheduler"], optimizer, 1)  # refused now or never
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()
        self.row: dict[str, float] = {}  # of this epoch in metrics.csv and TensorBoard
        self._speed: dict[str, float] = {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["format"], checkpoint["training_range"] = FORMAT, self.training_range

    def configure_optimizers(self) -> Any:
        optimizer = OPTIMIZERS.build(self.settings["optimizer"], self.parameters())
        if self.settings["scheduler"]["name"] == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = SCHEDULERS.build(self.settings["scheduler"], optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _dataset(self, side: str) -> Any:
        loader = self.trainer.train_dataloader if side == "train" else self.trainer.val_dataloaders
        return loader.dataset  # type: ignore[union-attr]

    def on_fit_start(self) -> None:
        lean_memory()

    def on_train_start(self) -> None:
        self.train_counts = SliceCounts(len(self._dataset("train"))).to(self.device)

    def on_validation_start(self) -> None:
        self.val_counts = SliceCounts(len(self._dataset("val"))).to(self.device)

    def on_train_epoch_start(self) -> None:
        self._epoch_start, self._epoch_slices = time.perf_counter(), 0

    def on_train_batch_start(self, batch: Sample, batch_index: int) -> None:
        # Dropout as a function of (seed, epoch, batch, process): a resumed run drops what an uninterrupted one does.
        entropy = (self.seed, self.current_epoch, batch_index, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def training_step(self, batch: Sample, batch_index: int) -> torch.Tensor:
        loss = self._step("train", batch)
        self._epoch_slices += len(batch["image"])
        if not torch.isfinite(loss):
            raise UserError(
                f"The training loss became {loss.item()} in epoch {self.current_epoch}, batch {batch_index}; the last "
                "checkpoint is from before it: lower the learning rate, or look at the data."
            )
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss

    def validation_step(self, batch: Sample, batch_index: int) -> None:
        self._step("val", batch)

    def _step(self, side: str, batch: Sample) -> torch.Tensor:
        mean_loss, counts = self._metrics(side)
        outputs = self(batch["image"])
        loss = self._loss_of(outputs, batch["mask"])
        logits = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        mean_loss.update(loss.detach(), len(logits))
        counts.update(torch.as_tensor(batch["index"]), logits.detach() > self.logit_threshold, batch["mask"] > 0.5)
        return loss

    def _loss_of(self, outputs: torch.Tensor | Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        """Of the logits; of several, from fine to coarse, the mean with weights 1, 1/2, 1/4 ..., as nnU-Net has it."""
        if isinstance(outputs, torch.Tensor):
            return self.loss(outputs, mask)
        weights = [0.5**level for level in range(len(outputs))]
        losses = [self.loss(one, smaller_mask(mask, one.shape[2])) for one in outputs]
        return sum(w * one for w, one in zip(weights, losses, strict=True)) / sum(weights)

    def _metrics(self, side: str) -> tuple[MeanMetric, SliceCounts]:
        return (self.train_loss, self.train_counts) if side == "train" else (self.val_loss, self.val_counts)

    def on_validation_epoch_start(self) -> None:
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            train_seconds = time.perf_counter() - self._epoch_start
            self._speed = {
                "train/seconds": train_seconds,
                "train/ms_per_slice": 1000 * train_seconds / self._epoch_slices,  # of this process
            }

    def on_validation_epoch_end(self) -> None:
        self._close("val")
        self.log("val/dice", self.row["val/dice"], prog_bar=True, logger=False, rank_zero_only=False)

    def on_train_epoch_end(self) -> None:
        self._close("train")
        rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        for logger in self.loggers:
            logger.log_metrics({"lr": rate, **self.row, **self._speed}, self.current_epoch)

    def _close(self, side: str) -> None:
        """End an epoch's side. Scores are per patient over all processes, then averaged over patients; the loss is
        the mean over batches, in which a distributed sampler may hand out a slice twice."""
        mean_loss, counts = self._metrics(side)
        dataset = self._dataset(side)
        group = getattr(dataset, "volume_of_slice", np.arange(len(dataset)))  # without, each slice by itself
        patients = score.per_group(counts.compute().cpu().numpy(), group)
        self.row[f"{side}/loss"] = float(mean_loss.compute())
        for function in (score.accuracy, score.precision, score.recall, score.dice):
            self.row[f"{side}/{function.__name__}"] = score.mean_defined(function(patients))
        mean_loss.reset()
        counts.reset()
