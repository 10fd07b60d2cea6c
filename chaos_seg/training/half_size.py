"""Progressive image size: the first epochs see images at half their size, in a quarter of the time."""

from typing import Any

import lightning as L
from torch.nn import functional

from chaos_seg.errors import UserError
from chaos_seg.training.segmenter import Segmenter


class HalfSize(L.Callback):
    """Halves image and mask of each training batch in the first `epochs` (Howard's progressive resizing, as in
    arXiv:2104.00298); validation sees the whole size. A pixel is liver when more than half of its area is.
    """

    def __init__(self, epochs: int):
        self.epochs = epochs

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, Segmenter)
        half, divisor = pl_module.preprocessing.image_size / 2, getattr(pl_module.net, "divisor", 1)
        if half % divisor:
            raise UserError(
                f"half_size_epochs={self.epochs}: expected half of image_size to be a multiple of {divisor} for this "
                f"network, found {half:g}; choose another image_size, or 0."
            )

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: dict[str, Any], batch_idx: int
    ) -> None:
        if trainer.current_epoch < self.epochs:
            batch["image"] = functional.avg_pool2d(batch["image"], 2)
            batch["mask"] = (functional.avg_pool2d(batch["mask"], 2) > 0.5).to(batch["mask"].dtype)
