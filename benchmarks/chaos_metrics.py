"""Seconds for the challenge's metrics of a patient: chaos_scores() against KD-trees over full volumes, in turn.

    python benchmarks/chaos_metrics.py [--slices 100] [--size 512] [--rounds 5]

A phantom liver and four predictions of it: its outline moved by a smooth random field, the same with specks all over
the volume, the liver moved by a seventh of the volume, and most of the volume marked, with holes all over. Brute force
is the official code with scipy's KD-tree: erode both volumes, build a tree of each border, ask it about every border
voxel of the other, in one thread. Both must find the same ASSD and MSSD. Goal: at least 4 times as fast for a
prediction that lies near the liver, and seconds, not minutes, for any.

Then all that a run scores of a patient, challenge_scores(): the same metrics, HD95 and surface Dice of the mask and of
its largest component, of a good mask and of two as an untrained model gives: most of what is bright once the picture
is blurred, and all that is no air. The scan is SET 3 below CHAOS_REAL_ROOT, else the phantom. Goal: at most twice the
time of the good one.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.sources.phantom import FIELD_OF_VIEW_MM, HEIGHT_MM, Phantom, render, write_phantom
from chaos_seg.data.store import open_patients
from chaos_seg.evaluation.chaos_metrics import ChaosScores, chaos_scores
from chaos_seg.evaluation.scores import challenge_scores

Spacing = tuple[float, float, float]


def brute_force(predicted: np.ndarray, reference: np.ndarray, spacing_mm: Spacing) -> ChaosScores:
    cross = ndimage.generate_binary_structure(3, 1)
    borders = [mask ^ ndimage.binary_erosion(mask, cross, border_value=1) for mask in (predicted, reference)]
    a, b = (np.argwhere(border) * spacing_mm for border in borders)
    there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    size_a, size_b = predicted.sum(), reference.sum()
    return ChaosScores(
        dice=2 * (predicted & reference).sum() / (size_a + size_b),
        ravd_percent=100 * abs(int(size_a) - int(size_b)) / size_b,
        assd_mm=(there.sum() + back.sum()) / (len(a) + len(b)),
        mssd_mm=max(there.max(), back.max()),
    )


def predictions(liver: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.standard_normal([-(-size // 4) for size in liver.shape]), 2)
    for axis, size in enumerate(liver.shape):
        field = field.repeat(4, axis).take(range(size), axis)
    moved = ndimage.gaussian_filter(liver.astype(np.float32), (1, 3, 3)) + 0.15 * field / field.std() > 0.5
    near = moved & ndimage.binary_dilation(liver, iterations=10)
    rough = ndimage.gaussian_filter(rng.standard_normal(liver.shape).astype(np.float32), (0.5, 2, 2))
    return {
        "near": near,
        "with specks": moved,
        "far": np.roll(liver, liver.shape[2] // 7, 2),
        "most": rough > -0.5 * rough.std(),
    }


def seconds(scores: Callable[..., ChaosScores], *args: object) -> tuple[float, ChaosScores]:
    start = time.perf_counter()
    result = scores(*args)
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description="The challenge's metrics against brute force.")
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--size", type=int, default=512, help="pixels")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    liver = np.stack([liver for _, liver in render(np.random.default_rng(0), args.slices, args.size)])
    spacing = (HEIGHT_MM / args.slices, FIELD_OF_VIEW_MM / args.size, FIELD_OF_VIEW_MM / args.size)
    against_brute_force(liver, spacing, args.rounds)
    good_and_bad(*scan(args.slices, args.size), args.rounds)


def against_brute_force(liver: np.ndarray, spacing: Spacing, rounds: int) -> None:
    for name, predicted in predictions(liver).items():
        brute, ours = [], []
        for _ in range(rounds):
            slow, expected = seconds(brute_force, predicted, liver, spacing)
            fast, found = seconds(chaos_scores, predicted, liver, spacing)
            brute.append(slow)
            ours.append(fast)
            assert np.allclose((found.assd_mm, found.mssd_mm), (expected.assd_mm, expected.mssd_mm), rtol=1e-12, atol=0)
        ratios = [a / b for a, b in zip(brute, ours, strict=True)]
        print(
            f"{name}: Dice {found.dice:.3f}, ASSD {found.assd_mm:.2f} mm, MSSD {found.mssd_mm:.1f} mm; "
            f"brute force {statistics.median(brute):.3f} s, chaos_scores {statistics.median(ours):.3f} s, "
            f"{statistics.median(ratios):.1f} times as fast (median of {rounds}; "
            f"{min(ratios):.1f} to {max(ratios):.1f})",
            flush=True,
        )


def scan(slices: int, size: int) -> tuple[np.ndarray, np.ndarray, Spacing]:
    """HU, liver and spacing of SET 3, or of the phantom."""
    root = os.environ.get("CHAOS_REAL_ROOT")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        made = Phantom(patients=3, slices=slices, size=size, seed=0)
        tree = Path(root) if root else write_phantom(place / "phantom", made)
        (patient,) = open_patients(place, chaos(tree), ["3"])
        hu, liver = (np.stack([part(rank) for rank in range(patient.slices)]) for part in (patient.hu, patient.mask))
        return hu, liver > 0, patient.mean_spacing_mm


def good_and_bad(hu: np.ndarray, liver: np.ndarray, spacing: Spacing, rounds: int) -> None:
    blurred = ndimage.gaussian_filter(hu.astype(np.float32), (0, 4, 4))
    masks = {"good": np.roll(liver, (1, 1), (1, 2)), "bright": blurred > 20, "no air": hu > -100}
    taken: dict[str, list[float]] = {name: [] for name in masks}
    for _ in range(rounds):
        for name, predicted in masks.items():
            start = time.perf_counter()
            scores = challenge_scores("3", "test", predicted, liver, spacing)
            taken[name].append(time.perf_counter() - start)
            if not taken["good"][1:]:
                print(f"{name}: Dice {scores[0].dice:.3f}, ASSD {scores[0].assd_mm:.1f} mm", flush=True)
    for name in ("bright", "no air"):
        ratios = [bad / good for bad, good in zip(taken[name], taken["good"], strict=True)]
        good, bad = (statistics.median(taken[one]) for one in ("good", name))
        print(
            f"all scores: good {good:.2f} s, {name} {bad:.2f} s, {statistics.median(ratios):.1f} times as long "
            f"(median of {rounds}; {min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
