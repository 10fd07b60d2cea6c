"""One CHAOS slice as a training sample."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from chaos_seg.data.store import Volume
from chaos_seg.data.transforms import Rotation, resize_image, resize_mask, window


class Sample(TypedDict):
    image: torch.Tensor  # float32 (1, size, size) in [-1, 1]
    mask: torch.Tensor  # float32 (1, size, size) in {0, 1}
    index: int | torch.Tensor  # position in the data set


class SliceDataset(Dataset[Sample]):
    """Every slice of some patients, patient after patient, in file-name order.

    `dataset[i]` is slice i as it is. `dataset[epoch, i]` is slice i as augmented in that epoch: a pure function of
    (seed, epoch, i), hence the same with any number of workers, on any process and after a resume.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        image_size: int,
        level_hu: float,
        width_hu: float,
        rotation_deg: float = 0.0,
        seed: int = 0,
    ):
        self.volumes = list(volumes)
        self.image_size = image_size
        self.level_hu = level_hu
        self.width_hu = width_hu
        self.seed = seed
        self.rotation = Rotation(rotation_deg) if rotation_deg else None
        # Of each slice: which volume, which rank in it.
        self.volume_of_slice = np.repeat(np.arange(len(volumes)), [volume.slices for volume in volumes])
        self.rank_of_slice = np.concatenate([np.arange(volume.slices) for volume in volumes])

    def __len__(self) -> int:
        return len(self.rank_of_slice)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (None, key)
        volume, rank = self.volumes[self.volume_of_slice[index]], int(self.rank_of_slice[index])
        size = (self.image_size, self.image_size)
        image = resize_image(window(volume.hu(rank), self.level_hu, self.width_hu), size)
        mask = resize_mask(np.array(volume.mask(rank)), size)
        if epoch is not None and self.rotation is not None:
            image, mask = self.rotation(image, mask, (self.seed, epoch, index))
        return {
            "image": torch.from_numpy(image)[None],
            "mask": torch.from_numpy(mask)[None].float(),
            "index": index,
        }
