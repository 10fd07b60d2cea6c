from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.preprocessing import Window, resize_image, resize_mask, window
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, open_volumes

RANK = 3  # of a slice with liver


@pytest.fixture
def volumes(phantom_root: Path, tmp_path: Path) -> list[StoredScan]:
    return open_volumes(tmp_path, list(find_patients(phantom_root).values())[:2])


def dataset(volumes: Sequence[StoredScan], size: int = 32, rotation_deg: float = 20, seed: int = 5) -> SliceDataset:
    rotation = {"rotation": {"degrees": rotation_deg}} if rotation_deg else {}
    return SliceDataset(volumes, Window(size, 40.0, 400.0), Augmentation(rotation), seed)


def test_slices_stand_patient_after_patient_at_the_networks_size(volumes: list[StoredScan]) -> None:
    slices = dataset(volumes, size=16)
    assert len(slices) == 14
    for index in (0, RANK, 7 + RANK, 13):
        volume, rank, sample = volumes[index // 7], index % 7, slices[index]
        image = resize_image(window(volume.hu(rank), 40, 400), (16, 16))
        assert sample["index"] == index and sample["image"].shape == sample["mask"].shape == (1, 16, 16)
        assert np.array_equal(sample["image"][0].numpy(), image)
        assert np.array_equal(sample["mask"][0].numpy(), resize_mask(volume.mask(rank), (16, 16)))


def test_image_and_mask_are_turned_by_one_angle_of_seed_epoch_and_index(volumes: list[StoredScan]) -> None:
    """The second patient's slice: its index is not its rank."""
    index = 7 + RANK
    sample = dataset(volumes)[4, index]
    image = window(volumes[1].hu(RANK), 40, 400)
    turned, mask = Augmentation({"rotation": {"degrees": 20.0}})(image, volumes[1].mask(RANK), (5, 4, index))
    assert np.array_equal(sample["image"][0].numpy(), turned)
    assert np.array_equal(sample["mask"][0].numpy(), mask) and sample["mask"].dtype == torch.float32
    assert not np.array_equal(mask, volumes[1].mask(RANK))


def test_contrast_changes_hu_before_the_window_cuts_them(volumes: list[StoredScan]) -> None:
    """Air is far below the window: shifted by 900 HU it lies within, and would not after the cut."""
    augmentation = Augmentation({"contrast_hu": {"factor": [1, 1], "shift_hu": [900, 901], "share": 1.0}})
    slices = SliceDataset(volumes, Window(32, 40.0, 400.0), augmentation, 5)
    hu = volumes[0].hu(RANK)
    changed, _ = augmentation.of_hu(hu[..., None], volumes[0].mask(RANK), (5, 4, RANK))
    image = slices[4, RANK]["image"][0].numpy()
    assert np.array_equal(image, resize_image(window(changed[..., 0], 40, 400), (32, 32)))
    assert np.ptp(changed[..., 0] - hu) < 0.01 and 899.9 < changed[0, 0, 0] - hu[0, 0] < 901.1
    assert (image[window(hu, 40, 400) == -1] > -1).any()


@pytest.mark.parametrize(("epoch", "seed"), [(1, 5), (0, 6)])
def test_another_epoch_or_seed_turns_otherwise(volumes: list[StoredScan], epoch: int, seed: int) -> None:
    first, other = dataset(volumes)[0, RANK], dataset(volumes, seed=seed)[epoch, RANK]
    assert not torch.equal(first["image"], other["image"]) and first["index"] == other["index"] == RANK


def test_without_an_epoch_or_without_rotation_nothing_turns(volumes: list[StoredScan]) -> None:
    as_it_is = dataset(volumes)[RANK]
    for sample in (dataset(volumes, rotation_deg=0)[4, RANK], dataset(volumes)[RANK]):
        assert torch.equal(sample["image"], as_it_is["image"]) and torch.equal(sample["mask"], as_it_is["mask"])
