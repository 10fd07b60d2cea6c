from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.datamodule import ChaosDataModule, EpochSampler, worker_count
from chaos_seg.data.preprocessing import Window
from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.splits import SIDES, Split
from chaos_seg.data.store import open_patients
from chaos_seg.errors import UserError

SPLIT = Split(("1", "3"), ("2",), ("4",))


def datamodule(root: Path, store: Path, **changed: object) -> ChaosDataModule:
    volumes = dict(zip(SPLIT.patients, open_patients(store, chaos(root), SPLIT.patients), strict=True))
    sides = {side: [volumes[patient] for patient in SPLIT[side]] for side in SIDES}
    settings = {"batch_size": 4, "seed": 1, "num_workers": 0, **changed}
    rotation = Augmentation({"rotation": {"degrees": 5}})
    return ChaosDataModule(sides, Window(32, 0.0, 2800.0), rotation, **settings)  # type: ignore[arg-type]


def epochs(module: ChaosDataModule, count: int = 2) -> list[tuple[list[int], torch.Tensor, torch.Tensor]]:
    loader, batches = module.train_dataloader(), []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches += [(batch["index"].tolist(), batch["image"], batch["mask"]) for batch in loader]
    return batches


@pytest.mark.parametrize("workers", [1, 4])
def test_same_batches_with_any_number_of_workers(phantom_root: Path, tmp_path: Path, workers: int) -> None:
    alone = epochs(datamodule(phantom_root, tmp_path))
    others = epochs(datamodule(phantom_root, tmp_path, num_workers=workers))
    assert len(alone) == len(others) == 8  # 14 slices in batches of 4, twice
    for (index, image, mask), (index2, image2, mask2) in zip(alone, others, strict=True):
        assert index == index2 and torch.equal(image, image2) and torch.equal(mask, mask2)


def test_augmentation_and_order_are_a_function_of_seed_and_epoch(phantom_root: Path, tmp_path: Path) -> None:
    first, again = (epochs(datamodule(phantom_root, tmp_path)) for _ in range(2))
    other = epochs(datamodule(phantom_root, tmp_path, seed=2))
    order = [[i for batch in part for i in batch[0]] for part in (first[:4], first[4:], again[:4], other[:4])]
    assert order[0] == order[2] and order[0] != order[1] and order[0] != order[3]
    assert all(sorted(one) == list(range(14)) for one in order)
    early, late = (torch.cat([batch[1] for batch in part]) for part in (first[:4], first[4:]))
    assert not torch.equal(
        early[order[0].index(5)], late[order[1].index(5)]
    )  # the same slice turned otherwise in another epoch


def test_the_seed_turns_a_slice_otherwise_too(phantom_root: Path, tmp_path: Path) -> None:
    first, other = (datamodule(phantom_root, tmp_path, seed=seed).datasets["train"][0, 3] for seed in (1, 2))
    assert not torch.equal(first["image"], other["image"])


def test_distributed_samplers_share_the_epoch(phantom_root: Path, tmp_path: Path) -> None:
    dataset = datamodule(phantom_root, tmp_path).datasets["train"]
    samplers = [EpochSampler(dataset, num_replicas=2, rank=rank, shuffle=True, seed=1) for rank in range(2)]
    for sampler in samplers:
        sampler.set_epoch(3)
    parts = [list(sampler) for sampler in samplers]
    assert {epoch for part in parts for epoch, _ in part} == {3}
    assert sorted(index for part in parts for _, index in part) == list(range(14))


def test_sides_hold_their_patients_and_are_not_augmented(phantom_root: Path, tmp_path: Path) -> None:
    module = datamodule(phantom_root, tmp_path)
    assert {side: [v.name for v in d.volumes] for side, d in module.datasets.items()} == {
        "train": ["1", "3"],
        "val": ["2"],
        "test": ["4"],
    }
    dataset = module.datasets["val"]
    volume = dataset.volumes[0]
    for index in range(7):
        sample = dataset[index]
        expected = torch.from_numpy(volume.hu(index).astype("float32") / 1400).clip(-1, 1)
        assert torch.allclose(sample["image"][0], expected) and sample["image"].dtype == torch.float32
        assert torch.equal(sample["mask"][0], torch.from_numpy(volume.mask(index).astype("float32")))
    assert torch.cat([batch["index"] for batch in module.val_dataloader()]).tolist() == list(range(7))


def test_each_process_trains_on_its_own_share(phantom_root: Path, tmp_path: Path) -> None:
    shares = []
    for rank in range(2):
        module = datamodule(phantom_root, tmp_path)
        module.trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        shares += [index for batch in module.train_dataloader() for index in batch["index"].tolist()]
    assert sorted(shares) == list(range(14))


def test_validation_is_whole_and_in_order(phantom_root: Path, tmp_path: Path) -> None:
    module = datamodule(phantom_root, tmp_path)
    (first, *_), slices = module.val_dataloader(), module.datasets["val"]
    assert torch.equal(first["image"], torch.stack([slices[index]["image"] for index in range(4)]))


def test_workers_are_for_a_gpu_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, cores, wanted in ((False, 16, 0), (True, 16, 4), (True, 3, 2), (True, 1, 0)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert (worker_count(None, "auto"), worker_count(None, "cpu"), worker_count(7, "cpu")) == (wanted, 0, 7)


def test_a_batch_may_hold_all_the_data_but_not_more(phantom_root: Path, tmp_path: Path) -> None:
    assert len(datamodule(phantom_root, tmp_path, batch_size=14).train_dataloader()) == 1
    with pytest.raises(UserError, match=r"batch_size=15: expected at most 14, the number of training slices"):
        datamodule(phantom_root, tmp_path, batch_size=15)


def test_a_patient_without_masks_cannot_be_used(tree: Path, tmp_path: Path) -> None:
    (tree / "Train_Sets" / "CT" / "4" / "Ground").rename(tree / "elsewhere")
    with pytest.raises(
        UserError, match=r"expected masks .CHAOS has them in Ground beside it., found none; take patient 4 out"
    ):
        datamodule(tree, tmp_path / "s")


def test_patients_outside_the_split_are_not_touched(tree: Path, tmp_path: Path) -> None:
    broken = tree / "Train_Sets" / "CT" / "99" / "DICOM_anon"
    broken.mkdir(parents=True)
    (broken / "i0000,0000b.dcm").write_text("broken")
    assert len(datamodule(tree, tmp_path / "s").volumes) == 4
