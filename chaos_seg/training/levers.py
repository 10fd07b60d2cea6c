"""What a run may do beside training: half the size at first, a compiled network, the average of its weights."""

import copy
import logging
import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.nn import functional

from chaos_seg.errors import UserError
from chaos_seg.training.segmenter import Segmenter, smaller_mask

log = logging.getLogger(__name__)


def levers(ema_decay: float, half_size_epochs: int, compiled: "Compile | None") -> list[L.Callback]:
    """Callbacks for a trainer; `ema_decay` is that of the moving average of the weights (Tarvainen and Valpola 2017,
    arXiv:1703.01780), which is kept in their place.
    """
    return [
        *([HalfSize(half_size_epochs)] if half_size_epochs else []),
        *([compiled] if compiled else []),
        *([EMAWeightAveraging(decay=ema_decay)] if ema_decay else []),  # behind whatever looks at the average
    ]


class HalfSize(L.Callback):
    """Halves image and mask of each training batch in the first `epochs` (Howard's progressive resizing, as in
    arXiv:2104.00298); validation sees the whole size.
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
            batch["mask"] = smaller_mask(batch["mask"], batch["mask"].shape[2] // 2)


class Compile(L.Callback):
    """Compiles the network before the first step, and says what that gave; without a compiler it trains as it is.

    Both are timed on copies, so that weights, running means and random numbers are what they would be without.
    What that gave is said to `tell`, too.
    """

    def __init__(self, batch_size: int, tell: Callable[[str], None]):
        self.batch_size, self.tell = batch_size, tell

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Segmenter)
        log.info("torch.compile begins; it can take a minute")
        start = time.perf_counter()
        try:
            eager, compiled = copy.deepcopy(pl_module.net), copy.deepcopy(pl_module.net)
            compiled.compile(dynamic=False)
            after, before = (self._ms_per_slice(trainer, pl_module, net) for net in (compiled, eager))
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            outcome = f"torch.compile does not work here ({reason}): the run goes on without it"
            log.warning("%s", outcome)
            self.tell(outcome)
            return
        pl_module.net.compile(dynamic=False)
        took = time.perf_counter() - start
        outcome = f"torch.compile: {after:.1f} ms a slice in place of {before:.1f}, after {took:.0f} s"
        log.info("%s", outcome)
        self.tell(outcome)

    def _ms_per_slice(self, trainer: L.Trainer, segmenter: Segmenter, net: nn.Module) -> float:
        """Forward and backward, the quickest of three after the first."""
        preprocessing = segmenter.preprocessing
        shape = (self.batch_size, preprocessing.channels, preprocessing.image_size, preprocessing.image_size)
        image = torch.zeros(shape, device=segmenter.device).contiguous(memory_format=torch.channels_last)
        seconds = []
        with torch.random.fork_rng():
            for _ in range(4):
                start = time.perf_counter()
                with trainer.precision_plugin.train_step_context():
                    logits = net(image)
                (logits[0] if isinstance(logits, tuple) else logits).mean().backward()
                if image.is_cuda:
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - start)
        return 1000 * min(seconds[1:]) / self.batch_size
