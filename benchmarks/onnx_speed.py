"""Milliseconds a slice by onnxruntime and by torch on the CPU, in turn, and the pixels in which their masks differ.

    pip install -e '.[onnx]'
    CHAOS_REAL_ROOT=/path/to/CHAOS python benchmarks/onnx_speed.py CHECKPOINT [--rounds 7]

Speed: the network of CHECKPOINT, exported for 256 and 512 px, on noise in batches of 1 and 8; torch as predict runs it,
channels-last; as many threads for both. Masks: all slices of patient 3 below CHAOS_REAL_ROOT, of
one phantom without it, at the slices' own size. Goal: at most 1 pixel in 100,000 differs.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.sources.phantom import Phantom, write_phantom
from chaos_seg.data.store import open_patients
from chaos_seg.inference.choices import chosen_device
from chaos_seg.inference.onnx import export, session
from chaos_seg.inference.predictor import Predictor
from chaos_seg.networks.model import Model
from chaos_seg.training.checkpoints import load_model, read_checkpoint

SLICES = 16  # a round


def both(checkpoint: Path, folder: Path) -> tuple[Model, Any]:
    """The model for torch, and exported for onnxruntime."""
    export(checkpoint, folder / "model.onnx")
    return load_model(checkpoint)[0], session(folder / "model.onnx")


def at_size(checkpoint: Path, size: int, folder: Path) -> Path:
    """The same network for images of another size."""
    content = read_checkpoint(checkpoint)
    content["hyper_parameters"]["preprocessing"]["image_size"] = size
    torch.save(content, folder / "resized.ckpt")
    return folder / "resized.ckpt"


def ms_per_slice(predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, batch: int) -> float:
    start = time.perf_counter()
    for first in range(0, len(images), batch):
        predict(images[first : first + batch])
    return 1000 * (time.perf_counter() - start) / len(images)


def compare_speed(checkpoint: Path, size: int, rounds: int, folder: Path) -> None:
    model, runtime = both(at_size(checkpoint, size, folder), folder)

    def by_torch(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(images)).sigmoid().numpy()

    def by_onnx(images: np.ndarray) -> np.ndarray:
        probability: np.ndarray = runtime.run(None, {"image": images})[0]
        return probability

    images = np.random.default_rng(0).uniform(-1, 1, (SLICES, 1, size, size)).astype(np.float32)
    for batch in (1, 8):
        for predict in (by_torch, by_onnx):
            ms_per_slice(predict, images[:batch], batch)  # warm up
        pairs = [[ms_per_slice(predict, images, batch) for predict in (by_torch, by_onnx)] for _ in range(rounds)]
        ratios = [a / b for a, b in pairs]
        a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(
            f"{size} px, batch {batch}: torch {a:.1f} ms, onnxruntime {b:.1f} ms a slice; "
            f"{statistics.median(ratios):.2f} times as fast (median of {rounds}; {min(ratios):.2f} to "
            f"{max(ratios):.2f})",
            flush=True,
        )


def compare_masks(checkpoint: Path, folder: Path) -> None:
    real = os.environ.get("CHAOS_REAL_ROOT")
    root = Path(real) if real else write_phantom(folder, Phantom(patients=3, slices=40, size=512, seed=0))
    (volume,) = open_patients(folder, chaos(root), ["3"])
    model, runtime = both(checkpoint, folder)
    preprocessing, threshold = model.preprocessing, model.threshold
    slices = [volume.hu(rank) for rank in range(volume.slices)]
    expected = Predictor([model], chosen_device("cpu")).probabilities(volume)
    different = liver = 0
    gap = 0.0
    for hu, by_torch in zip(slices, expected, strict=True):
        image = preprocessing.image(hu[..., None])
        (given,) = runtime.run(None, {"image": image.transpose(2, 0, 1)[None]})
        by_onnx = preprocessing.back(given[0, 0], hu[..., None])
        different += int(np.count_nonzero((by_onnx * 255 > threshold) != (by_torch * 255 > threshold)))
        liver += int(np.count_nonzero(by_torch * 255 > threshold))
        gap = max(gap, float(np.abs(by_onnx - by_torch).max()))
    pixels = sum(hu.size for hu in slices)
    print(
        f"{'Patient' if real else 'Phantom'} 3, {len(slices)} slices: {different} of {pixels} pixels differ "
        f"({1e5 * different / pixels:.3f} in 100,000), {liver} are liver; probabilities at most {gap:.1e} apart"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="onnxruntime against torch: speed and masks.")
    parser.add_argument("checkpoint", type=Path, help="one of a run's checkpoints/*.ckpt")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        compare_masks(args.checkpoint, Path(folder))
        for size in (256, 512):
            compare_speed(args.checkpoint, size, args.rounds, Path(folder))


if __name__ == "__main__":
    main()
