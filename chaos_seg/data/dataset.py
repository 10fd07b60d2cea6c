"""One slice of CT as a training sample."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.preprocessing import Preprocessing
from chaos_seg.data.scan import Scan


class Sample(TypedDict):
    image: torch.Tensor  # float32 (channels, size, size) in [-1, 1]
    mask: torch.Tensor  # float32 (1, size, size) in {0, 1}
    index: int | torch.Tensor  # position in the data set


class SliceDataset(Dataset[Sample]):
    """Every slice of some patients, patient after patient, in file-name order.

    `dataset[i]` is slice i as it is. `dataset[epoch, i]` is slice i as augmented in that epoch: a pure function of
    (seed, epoch, i), hence the same with any number of workers, on any process and after a resume.
    """

    def __init__(
        self,
        volumes: Sequence[Scan],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ):
        self.volumes = list(volumes)
        self.preprocessing, self.augmentation, self.seed = preprocessing, augmentation, seed
        # Of each slice: which volume, which rank in it.
        self.volume_of_slice = np.repeat(np.arange(len(volumes)), [volume.slices for volume in volumes])
        self.rank_of_slice = np.concatenate([np.arange(volume.slices) for volume in volumes])

    def __len__(self) -> int:
        return len(self.rank_of_slice)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, index = key if isinstance(key, tuple) else (None, key)
        volume, rank = self.volumes[self.volume_of_slice[index]], int(self.rank_of_slice[index])
        hu, mask = self.preprocessing.hu(volume, rank), np.array(volume.mask(rank))
        entropy = None if epoch is None else (self.seed, epoch, index)
        if entropy is not None and self.augmentation is not None:
            hu, mask = self.augmentation.of_hu(hu, mask, entropy)
        image, mask = self.preprocessing.image(hu), self.preprocessing.mask(mask, hu)
        if entropy is not None and self.augmentation is not None:
            image, mask = self.augmentation(image, mask, entropy)
        return {
            "image": torch.from_numpy(image.transpose(2, 0, 1)).contiguous(),
            "mask": torch.from_numpy(mask)[None].float(),
            "index": index,
        }
