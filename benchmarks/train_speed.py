"""Milliseconds a training slice: chaos_seg.train against a bare PyTorch loop, in turn and in one process.

    python benchmarks/train_speed.py [--size 256] [--rounds 5]

Both train the same network in the same memory layout with the same loss, optimiser, batch and threads on the same
slices. The bare loop has them ready as tensors in memory; chaos_seg reads them from the store, resizes, rotates,
counts pixels by patient and logs. Goal: a ratio of at most 1.10.
"""

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.preprocessing import Window
from chaos_seg.experiment import open_sides, train
from chaos_seg.files import read_csv
from chaos_seg.networks.unet import UNet
from chaos_seg.registry import LOSSES

BATCH = 8


def bare_epoch(net: UNet, optimizer: torch.optim.Optimizer, images: torch.Tensor, masks: torch.Tensor) -> float:
    """Train one epoch; milliseconds a slice."""
    loss = LOSSES.build({"name": "dice"})
    start = time.perf_counter()
    for batch in torch.randperm(len(images)).split(BATCH):
        optimizer.zero_grad()
        loss(net(images[batch].contiguous(memory_format=torch.channels_last)), masks[batch]).backward()
        optimizer.step()
    return 1000 * (time.perf_counter() - start) / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description="Training speed against a bare PyTorch loop.")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for name in ("lightning.pytorch", "chaos_seg"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            *("data=phantom", f"data.store={folder}/store", "trainer=cpu", "loss=dice", "epochs=1"),
            *(f"image_size={args.size}", f"data.source.size={args.size}", "data.source.slices=16"),
            *("data.source.patients=8", "data.split.val_patients=1"),
        ]
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = checked(TrainConfig, compose("train", overrides=overrides))
        dataset = SliceDataset(open_sides(config)[0]["train"], Window(args.size, 0, 2800))
        images, masks = (torch.stack([dataset[k][key] for k in range(len(dataset))]) for key in ("image", "mask"))
        net = UNet()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
        bare_epoch(net, optimizer, images[: 2 * BATCH], masks[: 2 * BATCH])  # warm up

        bare, ours = [], []
        for number in range(args.rounds):
            bare.append(bare_epoch(net, optimizer, images, masks))
            run = Path(folder) / str(number)
            train(config, run)
            ours.append(float(read_csv(run / "metrics.csv")[0]["train/ms_per_slice"]))
            print(f"round {number + 1}: bare {bare[-1]:.1f} ms, chaos_seg {ours[-1]:.1f} ms a slice", flush=True)
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    print(
        f"{len(images)} slices of {args.size} x {args.size}, batch {BATCH}, {torch.get_num_threads()} threads: "
        f"bare {statistics.median(bare):.1f} ms, chaos_seg {statistics.median(ours):.1f} ms a slice; "
        f"ratio {statistics.median(ratios):.2f} (median of {args.rounds}; {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
