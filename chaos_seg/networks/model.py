"""A network with all that it needs to predict."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from chaos_seg.data.preprocessing import Preprocessing
from chaos_seg.errors import UserError
from chaos_seg.registry import LOSSES, NETWORKS, OPTIMIZERS, PREPROCESSINGS, SCHEDULERS


class Model(nn.Module):
    """A network that outlines the liver in one slice, how its input is made, and where liver begins.

    Args:
        network, loss, preprocessing, optimizer, scheduler: `name` and options of an entry of that slot (registry.py);
            what it was trained with is kept in `settings`.
        threshold: liver is where the probability is above threshold / 255.
        seed: of initial weights and dropout.

    Raises:
        UserError: a name or an option that its slot does not have, or an image size that the network can't take.
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
        super().__init__()
        self.settings: dict[str, Any] = {
            "network": NETWORKS.complete(network),
            "loss": LOSSES.complete(loss),
            "preprocessing": PREPROCESSINGS.complete(preprocessing),
            "optimizer": OPTIMIZERS.complete(optimizer),
            "scheduler": SCHEDULERS.complete(scheduler or {"name": "constant"}),
            "threshold": threshold,
            "seed": seed,
        }
        if not 0 < threshold < 255:
            raise UserError(f"threshold={threshold}: expected a number between 0 and 255.")
        self.preprocessing: Preprocessing = PREPROCESSINGS.build(preprocessing)
        with torch.random.fork_rng(devices=[]):  # whoever loads a model keeps his random numbers
            torch.manual_seed(seed)
            self.net = NETWORKS.build(network, self.preprocessing.channels)
        self.net.to(memory_format=torch.channels_last)  # faster, on CPU and GPU alike
        self.threshold, self.seed = float(threshold), seed
        self.logit_threshold = float(np.log(threshold / (255 - threshold)))
        self.training_range: dict[str, Any] | None = None  # of the training scans, for the alarms
        # Chosen on validation patients when a run ends: of its logits, and whether its largest part alone is kept.
        self.temperature: float | None = None
        self.largest_component = False
        self.expect_logits()

    def expect_logits(self, in_training: bool = False) -> None:
        """Refuse a network that gives other logits than it should: in training maybe of several sizes, the whole one
        first.
        """
        size, divisor = self.preprocessing.image_size, getattr(self.net, "divisor", 1)
        if size % divisor:
            raise UserError(f"image_size={size}: expected a multiple of {divisor} for this network; choose another.")
        side, name = min(size, divisor * -(-64 // divisor)), self.settings["network"]["name"]
        image = torch.zeros(2, self.preprocessing.channels, side, side)
        net = copy.deepcopy(self.net).train(in_training)  # whose running means may change
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                given = net(image)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(f"network {name}: it takes no images {tuple(image.shape)} ({reason:.200}).") from error
        several = in_training and isinstance(given, tuple | list) and given
        for number, one in enumerate(given if several else [given]):
            shape = tuple(getattr(one, "shape", [type(one).__name__]))
            if len(shape) != 4 or shape[:2] != (2, 1) or (number == 0 and shape[2:] != (side, side)):
                raise UserError(
                    f"network {name}: expected logits {(2, 1, side, side)} of images of that size, found {shape}"
                    f"{' in training' * in_training}; choose other options of it."
                )

    def forward(self, image: torch.Tensor) -> Any:
        """Logits (N, 1, H, W) of images (N, channels, H, W) in [-1, 1]; in training of a network with deep supervision
        those at several sizes.
        """
        return self.net(image.contiguous(memory_format=torch.channels_last))
