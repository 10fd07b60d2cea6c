"""Milliseconds a training slice: chaos_seg.train against bare PyTorch loops, in turn.

    python benchmarks/train_speed.py [--size 256] [--rounds 5]

All train the same network with the same loss, optimiser, batch and threads on the same slices. The bare loops have
them ready as tensors in memory, one in the same memory layout (channels last), one contiguous, as most are written;
chaos_seg reads them from the store, resizes, rotates, counts pixels by patient and logs. The loops have a process of
their own, whose memory is as any process has it (chaos_seg/training/memory.py). Goals: at most 1.10 times the first,
and the second at least 1.6 times as slow. Also the share of a training epoch that passes while the network waits for
its next batch; goal: below 3 %.
"""

import argparse
import logging
import statistics
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch.utils.data.dataloader import _BaseDataLoaderIter

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.preprocessing import Window
from chaos_seg.experiment import open_sides, train
from chaos_seg.files import read_csv
from chaos_seg.networks.unet import UNet
from chaos_seg.registry import LOSSES

BATCH = 8
LAYOUTS = {"same layout": torch.channels_last, "contiguous": torch.contiguous_format}


def bare_epoch(
    net: UNet, optimizer: torch.optim.Optimizer, layout: torch.memory_format, images: torch.Tensor, masks: torch.Tensor
) -> float:
    """Train one epoch; milliseconds a slice."""
    loss = LOSSES.build({"name": "dice"})
    start = time.perf_counter()
    for batch in torch.randperm(len(images)).split(BATCH):
        optimizer.zero_grad()
        loss(net(images[batch].contiguous(memory_format=layout)), masks[batch]).backward()
        optimizer.step()
    return 1000 * (time.perf_counter() - start) / len(images)


def serve(asked: Connection, *slices: np.ndarray, learning_rate: float) -> None:
    """In a process of its own: an epoch of the loop in each layout that is asked for, over images and masks."""
    images, masks = map(torch.from_numpy, slices)
    nets = {name: UNet().to(memory_format=layout) for name, layout in LAYOUTS.items()}  # type: ignore[call-overload]
    adam = {name: torch.optim.Adam(net.parameters(), lr=learning_rate) for name, net in nets.items()}
    for name, layout in LAYOUTS.items():
        bare_epoch(nets[name], adam[name], layout, images[: 2 * BATCH], masks[: 2 * BATCH])  # warm up
    while name := asked.recv():
        asked.send(bare_epoch(nets[name], adam[name], LAYOUTS[name], images, masks))


def seconds_waited(dataset_size: int) -> list[float]:
    """A list that gets the seconds of each wait for a batch of a data set of that size, from now on."""
    waits: list[float] = []
    unwatched = _BaseDataLoaderIter.__next__

    def watched(self: Any) -> Any:
        start = time.perf_counter()
        try:
            return unwatched(self)
        finally:
            if len(self._dataset) == dataset_size:
                waits.append(time.perf_counter() - start)

    _BaseDataLoaderIter.__next__ = watched  # type: ignore[method-assign]
    return waits


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
        loops, end = get_context("spawn").Pipe()
        given, rate = (end, images.numpy(), masks.numpy()), {"learning_rate": config.learning_rate}
        get_context("spawn").Process(target=serve, args=given, kwargs=rate, daemon=True).start()

        bare: dict[str, list[float]] = {name: [] for name in LAYOUTS}
        ours, shares = [], []
        waits = seconds_waited(len(images))
        for number in range(args.rounds):
            for name in LAYOUTS:
                loops.send(name)
                bare[name].append(loops.recv())
            run = Path(folder) / str(number)
            waits.clear()
            train(config, run)
            ours.append(float(read_csv(run / "metrics.csv")[0]["train/ms_per_slice"]))
            shares.append(sum(waits) / (ours[-1] / 1000 * len(images)))
            said = ", ".join(f"{name} {times[-1]:.1f}" for name, times in bare.items())
            print(f"round {number + 1}: bare {said}, chaos_seg {ours[-1]:.1f} ms a slice", flush=True)
        loops.send("")
    print(
        f"{len(images)} slices of {args.size} x {args.size}, batch {BATCH}, {torch.get_num_threads()} threads: "
        f"chaos_seg {statistics.median(ours):.1f} ms a slice, of which its network waits for data "
        f"{statistics.median(shares):.1%}"
    )
    for name, times in bare.items():
        ratios = [a / b for a, b in zip(ours, times, strict=True)]
        print(
            f"bare, {name}: {statistics.median(times):.1f} ms; chaos_seg takes {statistics.median(ratios):.2f} times "
            f"as long (median of {args.rounds}; {min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
