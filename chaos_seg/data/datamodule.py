"""The data of a run: volumes from the store, a patient-level split, and loaders over their slices."""

import os
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader, DistributedSampler

from chaos_seg.data.dataset import Sample, SliceDataset
from chaos_seg.data.splits import SIDES, Split
from chaos_seg.data.store import Volume, open_patients
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
    """Slices of a CHAOS tree below `root`, decoded once into `store`.

    Raises:
        UserError: from prepare(), with every fault of the patients that the split names.
    """

    def __init__(
        self,
        root: Path,
        store: Path,
        split: Split,
        image_size: int,
        level_hu: float,
        width_hu: float,
        rotation_deg: float = 0.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.root, self.store, self.split = root, store, split
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.image_size, self.level_hu, self.width_hu = image_size, level_hu, width_hu
        self.rotation_deg = rotation_deg
        self.datasets: dict[str, SliceDataset] = {}

    def prepare(self) -> None:
        """Open every volume of the split, decoding what is new, before a trainer or a process group starts."""
        volumes = open_patients(self.store, self.root, self.split.patients)
        by_patient = {volume.patient: volume for volume in volumes}
        for side in SIDES:
            if self.split[side]:
                self.datasets[side] = self._dataset([by_patient[patient] for patient in self.split[side]])
        slices = len(self.datasets["train"])
        if self.batch_size > slices:
            raise UserError(
                f"batch_size={self.batch_size}: expected at most {slices}, the number of training slices; "
                "choose a smaller batch or more patients."
            )

    def _dataset(self, volumes: list[Volume]) -> SliceDataset:
        return SliceDataset(volumes, self.image_size, self.level_hu, self.width_hu, self.rotation_deg, self.seed)

    @property
    def volumes(self) -> list[Volume]:
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
