"""The data of a run: loaders over the slices of the patients of each side."""

import os
from collections.abc import Iterator, Mapping, Sequence

import lightning as L
import torch
from torch.utils.data import DataLoader, DistributedSampler

from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.dataset import Sample, SliceDataset
from chaos_seg.data.preprocessing import Preprocessing
from chaos_seg.data.scan import Scan
from chaos_seg.errors import UserError


def worker_count(num_workers: int | None, accelerator: str) -> int:
    """As many as asked for; by default none on the CPU, where the network has the cores, and up to 4 for a GPU."""
    if num_workers is not None:
        return num_workers
    return min(4, (os.cpu_count() or 1) - 1) if accelerator != "cpu" and torch.cuda.is_available() else 0


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Shuffles by (seed, epoch) and yields (epoch, index), so that a worker knows the epoch it augments for."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in super().__iter__():
            yield self.epoch, int(index)  # type: ignore[call-overload]


class ChaosDataModule(L.LightningDataModule):
    """The slices of the patients of each side, of which `sides` has train and val at least.

    Raises:
        UserError: a batch would hold more than all training slices.
    """

    def __init__(
        self,
        sides: Mapping[str, Sequence[Scan]],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.datasets = {
            side: SliceDataset(volumes, preprocessing, augmentation, seed) for side, volumes in sides.items()
        }
        slices = len(self.datasets["train"])
        if batch_size > slices:
            raise UserError(
                f"batch_size={batch_size}: expected at most {slices}, the number of training slices; choose a smaller "
                "batch or more patients."
            )

    @property
    def volumes(self) -> list[Scan]:
        return [volume for dataset in self.datasets.values() for volume in dataset.volumes]

    def train_dataloader(self) -> DataLoader[Sample]:
        processes = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        dataset = self.datasets["train"]
        sampler = EpochSampler(dataset, num_replicas=processes, rank=rank, shuffle=True, seed=self.seed)
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Sample]:
        return self._loader(self.datasets["val"])

    def _loader(self, dataset: SliceDataset, sampler: EpochSampler | None = None) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
