"""What happens beside training: its bar, and pictures of validation slices in TensorBoard."""

import sys
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from chaos_seg.reporting.overlays import overlay
from chaos_seg.training.segmenter import Segmenter


class ProgressBar(TQDMProgressBar):
    """A bar for the epoch or the scoring at hand, on a terminal only: a log gets a line an epoch."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=1 if sys.stderr.isatty() else 0)

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        return {key: value for key, value in super().get_metrics(trainer, pl_module).items() if key != "v_num"}


class ValidationOverlays(L.Callback):
    """True and predicted outline on the slice with most liver of each validation patient, at most 4."""

    def __init__(self, every_epochs: int):
        self.every_epochs = every_epochs

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.state.fn != TrainerFn.FITTING or (trainer.current_epoch % self.every_epochs and not last):
            return
        assert isinstance(pl_module, Segmenter)
        writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        dataset: Any = trainer.val_dataloaders and trainer.val_dataloaders.dataset
        for volume in dataset.volumes[:4] if writers else []:
            rank = volume.liver_pixels.index(max(volume.liver_pixels))
            hu, true = pl_module.preprocessing.hu(volume, rank), volume.mask(rank) > 0
            image = torch.from_numpy(pl_module.preprocessing.image(hu).transpose(2, 0, 1))[None]
            with torch.no_grad():
                probability = pl_module(image.to(pl_module.device))[0, 0].float().sigmoid().cpu().numpy()
            predicted = pl_module.preprocessing.back(probability, hu) * 255 > pl_module.threshold
            tag = f"validation{' (synthetic)' if volume.synthetic else ''}/patient {volume.name}"
            for writer in writers:
                writer.add_image(
                    tag, overlay(volume.hu(rank), true, predicted), trainer.current_epoch, dataformats="HWC"
                )
