"""From HU to probabilities of liver, slice after slice: the same memory for a scan of any length."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from chaos_seg.data.transforms import resize_image, window
from chaos_seg.errors import UserError
from chaos_seg.segmenter import Segmenter


def chosen_device(name: str) -> torch.device:
    """`auto` is a GPU when there is one; any other name is torch's: cpu, cuda, cuda:1.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"device={name}: {reason}; choose auto or cpu.") from None
    return device


@dataclass(frozen=True)
class Predictor:
    """One trained model, or the mean of several; each prepares its input as it was trained."""

    segmenters: Sequence[Segmenter]
    device: torch.device
    batch_size: int = 8

    def __post_init__(self) -> None:
        for segmenter in self.segmenters:
            segmenter.to(self.device).eval()

    @torch.inference_mode()
    def probabilities(self, slices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The probability of liver, float32 (rows, columns), of each slice of HU (rows, columns)."""
        left = iter(slices)
        while batch := list(islice(left, self.batch_size)):
            total: list[np.ndarray] = [np.zeros(hu.shape, np.float32) for hu in batch]
            for segmenter in self.segmenters:
                size, level, width = (segmenter.preprocessing[key] for key in ("image_size", "level_hu", "width_hu"))
                images = np.stack([resize_image(window(hu, level, width), (size, size)) for hu in batch])
                logits = segmenter(torch.from_numpy(images)[:, None].to(self.device))
                for sum_, found in zip(total, logits[:, 0].float().sigmoid().cpu().numpy(), strict=True):
                    sum_ += resize_image(found, sum_.shape)
            yield from (sum_ / len(self.segmenters) for sum_ in total)

    def mask(self, slices: Iterable[np.ndarray], threshold: float) -> np.ndarray:
        """Liver where 255 * probability is above the threshold, bool (slices, rows, columns)."""
        return np.stack([probability * 255 > threshold for probability in self.probabilities(slices)])
