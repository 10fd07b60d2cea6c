"""From HU to probabilities of liver, slice after slice: the same memory for a scan of any length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch

from chaos_seg.data.appearance import TrainingRange
from chaos_seg.data.scan import Scan
from chaos_seg.evaluation.temperature import by_temperature
from chaos_seg.networks.model import Model

NEIGHBOURS = 64  # slices kept for those beside them


@dataclass(frozen=True)
class Predictor:
    """One trained model, or the mean of several; each prepares its input as it was trained.

    `batch_size` slices are seen at once: by default one on a CPU, where eight take twice the time a slice at 512 px.
    `views` are angles in degrees with scales, at which each slice is seen (test-time augmentation), turned back and
    averaged.
    """

    models: Sequence[Model]
    device: torch.device
    batch_size: int | None = None
    views: Sequence[Sequence[float]] = ((0.0, 1.0),)

    def __post_init__(self) -> None:
        for model in self.models:
            model.to(self.device).eval()

    @property
    def trained_on(self) -> list[TrainingRange | None]:
        """What each model has seen; None where its checkpoint does not say."""
        return [TrainingRange(**seen) if (seen := one.training_range) else None for one in self.models]

    @torch.inference_mode()
    def passes(self, scan: Scan) -> Iterator[np.ndarray]:
        """Of each slice of a scan, the probability of liver by each model in each view.

        Yields:
            float32 (models * views, rows, columns).
        """
        alone = all(model.preprocessing.channels == 1 for model in self.models)
        scan = replace(scan, read=lru_cache(1 if alone else NEIGHBOURS)(scan.read))  # read once for all
        at_once = self.batch_size or (1 if self.device.type == "cpu" else 16)
        for first in range(0, scan.slices, at_once):
            ranks = range(first, min(first + at_once, scan.slices))
            batch = [[model.preprocessing.hu(scan, rank) for model in self.models] for rank in ranks]
            seen = [
                (model.preprocessing, hu, self._seen_by(model, hu, *view))
                for model, hu in zip(self.models, zip(*batch, strict=True), strict=True)
                for view in self.views
            ]
            for number in range(len(batch)):
                yield np.stack([preprocessing.back(one[number], hu[number]) for preprocessing, hu, one in seen])

    def mean(self, passes: np.ndarray, calibrated: bool = False) -> np.ndarray:
        """Of passes() over one slice, as they are or each by the temperature of its model: float32 (rows, columns)."""
        if calibrated:
            temperatures = [model.temperature or 1.0 for model in self.models for _ in self.views]
            passes = np.stack([by_temperature(one, t) for one, t in zip(passes, temperatures, strict=True)])
        mean: np.ndarray = passes.mean(axis=0)
        return mean

    def probabilities(self, scan: Scan) -> Iterator[np.ndarray]:
        """The mean of passes(): float32 (rows, columns) for each slice."""
        for passes in self.passes(scan):
            yield self.mean(passes)

    def _seen_by(self, model: Model, batch: Sequence[np.ndarray], angle: float, scale: float) -> np.ndarray:
        images = [model.preprocessing.image(hu) for hu in batch]
        moved = (angle, scale) != (0, 1)
        if moved:
            images = [_turned(image, angle, scale) for image in images]
        logits = model(torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)).to(self.device))
        probability: np.ndarray = logits[:, 0].float().sigmoid().cpu().numpy()
        if not moved:
            return probability
        return np.stack([_turned(one, -angle, 1 / scale) for one in probability])


def _turned(image: np.ndarray, degrees: float, scale: float) -> np.ndarray:
    """An image (size, size), or with channels, turned and scaled about its centre, bilinear, its rim repeated."""
    size = len(image)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, scale)
    turned = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return turned.reshape(image.shape)  # OpenCV drops a single channel
