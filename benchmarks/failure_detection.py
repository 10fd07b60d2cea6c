"""Failure detection judged as in Zenk et al. (2024): risk-coverage areas and AUROC of alarms without labels.

    CHAOS_REAL_ROOT=/path/to/CHAOS python benchmarks/failure_detection.py --patients 305 321 --store outputs/store
        --ensemble outputs/study_kfold/dice_*/checkpoints/best.ckpt --figure curves.png

Each ensemble (--ensemble CKPT..., several times) predicts each patient, whom none of its models may have seen; one
model alone is an ensemble without pairwise Dice. Risk is 1 - Dice. Compared, for scans and for slices: what predict
shows; what it would be without each of its measures; the mean pairwise Dice of the members' masks, the best simple
method in Zenk et al.; predictive entropy, summed over a slice or scan and by the mask's pixels; a small mask; chance
and the oracle. Slices count when they have liver in truth or prediction, then all of them, then those with true liver
alone; a slice is bad below a Dice of 0.8. Goals: on scans below the AURC of pairwise Dice, on slices AUROC 0.90.

With --held-out outputs/study_kfold/* also the intervals that predict promises: their coverage and width on the
held-out scans, each by the others, and on the patients.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import mannwhitneyu

from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.store import StoredScan, open_patients
from chaos_seg.evaluation.conformal import LEVELS, dice_interval, promised
from chaos_seg.evaluation.selection import risk_coverage
from chaos_seg.inference.alarms import NAMED, LiverInScan, alarms
from chaos_seg.inference.confidence import Confidence
from chaos_seg.inference.predictor import Predictor
from chaos_seg.inference.promise import held_out
from chaos_seg.training.checkpoints import load_model

BAD_DICE = 0.8
MEASURES = ("unsure", "no mask", "differs", "goes on", "island", "HU unlike", "the only")

RAW = {"largest_component": False, "fill_holes": False}  # masks as predicted


@dataclass(frozen=True)
class Case:
    """One scan under one ensemble. Pixels of each slice in both masks, the predicted and the true one (slices, 3);
    suspicion by ranking, of each slice and of the scan.
    """

    name: str
    pixels: np.ndarray
    of_slices: Mapping[str, np.ndarray]
    of_scan: Mapping[str, float]

    @property
    def dice(self) -> float:
        both, predicted, true = self.pixels.sum(axis=0)
        return float(2 * both / (predicted + true))

    @property
    def slice_risk(self) -> np.ndarray:
        """1 - Dice; 0 where both are empty."""
        both, predicted, true = self.pixels.T
        risk: np.ndarray = 1 - np.where(predicted + true > 0, 2 * both / np.maximum(predicted + true, 1), 1.0)
        return risk


def examine(predictor: Predictor, scan: StoredScan, name: str) -> Case:
    threshold = predictor.models[0].threshold
    masks, rows, pixels, entropy, pairs = [], [], [], [], []
    for rank, passes in enumerate(predictor.passes(scan)):
        mean, true = passes.mean(axis=0), scan.mask(rank) > 0
        mask = mean * 255 > threshold
        members = passes * 255 > threshold
        masks.append(mask)
        rows.append(Confidence.row(mean, mask))
        pixels.append([np.count_nonzero(one) for one in (mask & true, mask, true)])
        p = np.clip(mean.astype(float), 1e-6, 1 - 1e-6)
        entropy.append(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum())
        pairs.append(
            [
                [2 * np.count_nonzero(a & b), np.count_nonzero(a) + np.count_nonzero(b)]
                for a, b in combinations(members, 2)
            ]
        )
    confidence, counts = Confidence.of(rows), np.array(pixels)
    costs = measured(LiverInScan(masks, scan), confidence)
    found = alarms(masks, scan, confidence)
    score, predicted = np.zeros(scan.slices), counts[:, 1]
    for alarm in found.slices:
        score[alarm.rank] = alarm.score
    slices = {"alarms": score}
    for measure in MEASURES:
        left = np.stack([costs[other] for other in MEASURES if other != measure])
        slices[f"  without '{measure}'"] = 1 - np.prod(1 - np.where(left >= NAMED, left, 0), axis=0)
    of_pairs = np.array(pairs, float).reshape(scan.slices, -1, 2)
    scans = {
        "alarms: 1 - guessed Dice": 1 - found.dice,
        "  islands not counted": 1 - confidence.dice,
        "entropy": float(np.sum(entropy)),
        "entropy by pixel of the mask": float(np.sum(entropy) / predicted.sum()),
        "small mask": -float(predicted.sum() * np.prod(scan.spacing_mm)),
    }
    if of_pairs.size:
        inside, total = np.moveaxis(of_pairs, 2, 0)
        slices["pairwise Dice"] = 1 - np.where(total > 0, inside / np.maximum(total, 1), 1).mean(axis=1)
        scans["pairwise Dice"] = 1 - float((inside.sum(axis=0) / total.sum(axis=0)).mean())
    slices |= {
        "entropy": np.array(entropy),
        "entropy by pixel of the mask": np.array(entropy) / np.maximum(predicted, 50),
        "small mask": -predicted.astype(float),
    }
    return Case(f"{name} {scan.name}", counts, slices, scans)


def measured(liver: LiverInScan, confidence: Confidence) -> dict[str, np.ndarray]:
    """The costs of each measure, (slices,)."""
    costs = {measure: np.zeros(len(liver.pixels)) for measure in MEASURES}
    costs["unsure"] = np.where(liver.pixels > 0, confidence.doubt, 0)
    costs["no mask"] = np.where(liver.pixels > 0, 0, confidence.doubt)
    for rank in range(len(liver.pixels)):
        for cost, reason in liver.costs(rank):
            costs[next(measure for measure in MEASURES if reason.startswith(measure))][rank] = cost
    return costs


def table(title: str, risk: np.ndarray, suspicion: Mapping[str, np.ndarray], bad: np.ndarray | None) -> None:
    print(f"\n{title}\n{'':<32} AURC   AUGRC" + ("  AUROC" if bad is not None else "  rank correlation with the risk"))
    for name, values in {**suspicion, "oracle": risk, "chance": np.zeros(len(risk))}.items():
        found = risk_coverage(values, risk)
        if bad is not None:
            last = mannwhitneyu(values[bad], values[~bad]).statistic / bad.sum() / (~bad).sum()  # AUROC
        else:
            last = np.corrcoef(np.argsort(np.argsort(values)), np.argsort(np.argsort(risk)))[0, 1]
        print(f"{name:<32} {found.aurc:.4f} {found.augrc:.4f} {last:.3f}")


def report(cases: Sequence[Case]) -> None:
    names = [name for name in cases[0].of_scan if all(name in case.of_scan for case in cases)]
    risk = np.array([1 - case.dice for case in cases])
    scans = {name: np.array([case.of_scan[name] for case in cases]) for name in names}
    table(f"{len(cases)} scans, mean Dice {1 - risk.mean():.3f}", risk, scans, None)
    for name in (name for name in names if "Dice" in name or "islands" in name):
        print(f"mean error as a guess of 1 - Dice, {name}: {np.abs(scans[name] - risk).mean():.3f}")
    kinds: dict[str, Callable[[Case], np.ndarray]] = {
        "Slices with liver in truth or prediction": lambda case: case.pixels[:, 1:].max(axis=1) > 0,
        "All slices": lambda case: np.ones(len(case.pixels), bool),
        "Slices with true liver": lambda case: case.pixels[:, 2] > 0,
    }
    names = [name for name in cases[0].of_slices if all(name in case.of_slices for case in cases)]
    for title, kind in kinds.items():
        risk = np.concatenate([case.slice_risk[kind(case)] for case in cases])
        slices = {name: np.concatenate([case.of_slices[name][kind(case)] for case in cases]) for name in names}
        bad = risk > 1 - BAD_DICE
        table(f"{title}: {len(bad)}, {bad.sum()} bad", risk, slices, bad)


def promises(runs: Sequence[Path], cases: Sequence[Case]) -> None:
    checkpoints = [run / "checkpoints" / "best.ckpt" for run in runs]
    pairs = held_out(checkpoints, load_model(checkpoints[0])[0].threshold, RAW, [])
    guesses, dice = np.array(pairs).T
    print(f"\nIntervals of a scan's Dice by {len(pairs)} held-out ones, mean error {np.abs(guesses - dice).mean():.3f}")
    for level in LEVELS:
        others = [dice_interval(g, np.delete(guesses, k), np.delete(dice, k), level) for k, g in enumerate(guesses)]
        inside = [low <= d <= high for (low, high), d in zip(others, dice, strict=True)]
        widths = [high - low for low, high in others]
        print(f"  {level:.0%}, each by the others: holds {sum(inside)} of {len(inside)}, width {np.mean(widths):.3f}")
    found = [promised(1 - case.of_scan["alarms: 1 - guessed Dice"], pairs) for case in cases]
    told = [(one, case.dice) for one, case in zip(found, cases, strict=True) if one is not None]
    inside = [one.low <= true <= one.high for one, true in told]
    if told:
        width = np.mean([one.high - one.low for one, _ in told])
        print(f"  {told[0][0].level:.0%}, on the patients: holds {sum(inside)} of {len(inside)}, width {width:.3f}")


def draw(cases: Sequence[Case], path: Path) -> None:
    """Selective risk against coverage, scans and slices with liver."""
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = ("alarms: 1 - guessed Dice", "alarms", "pairwise Dice", "entropy by pixel of the mask")
    keep = [case.pixels[:, 1:].any(axis=1) for case in cases]
    of_scans = (np.array([1 - case.dice for case in cases]), [case.of_scan for case in cases])
    rankings = [{k: v[sel] for k, v in c.of_slices.items()} for c, sel in zip(cases, keep, strict=True)]
    of_slices = (np.concatenate([c.slice_risk[sel] for c, sel in zip(cases, keep, strict=True)]), rankings)
    for axes, title, (risk, ranked) in ((left, "Scans", of_scans), (right, "Slices with liver", of_slices)):
        names = [name for name in shown if all(name in one for one in ranked)]
        curves = {name: np.concatenate([np.atleast_1d(one[name]) for one in ranked]) for name in names}
        for name, values in {**curves, "oracle": risk, "chance": np.zeros(len(risk))}.items():
            found = risk_coverage(values, risk)
            dashed = name in ("oracle", "chance")
            axes.plot(
                found.coverage,
                found.selective,
                "--" if dashed else "-",
                label=f"{name.split(':')[0]} ({found.aurc:.3f})",
            )
        axes.set(title=title, xlabel="Share that is kept", ylabel="Mean of 1 - Dice among it", xlim=(0, 1))
        axes.legend(title="AURC", fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description="What alarms without labels are worth on real scans.")
    parser.add_argument("--ensemble", action="append", nargs="+", type=Path, required=True, help="its checkpoints")
    parser.add_argument("--patients", nargs="+", required=True, help="whom no model saw in training")
    parser.add_argument("--store", type=Path, required=True, help="where the decoded slices are")
    parser.add_argument("--held-out", nargs="+", type=Path, help="the runs that held patients out")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    if "CHAOS_REAL_ROOT" not in os.environ:
        sys.exit("Set CHAOS_REAL_ROOT to a CHAOS tree.")
    torch.set_num_threads(1)
    source, cases = chaos(Path(os.environ["CHAOS_REAL_ROOT"])), []
    for number, checkpoints in enumerate(args.ensemble):
        predictor = Predictor([load_model(path)[0] for path in checkpoints], torch.device("cpu"))
        for scan in open_patients(args.store, source, args.patients):
            cases.append(examine(predictor, scan, str(number)))
            print(f"{cases[-1].name}: Dice {cases[-1].dice:.3f}", file=sys.stderr, flush=True)
    report(cases)
    if args.held_out:
        promises(args.held_out, cases)
    if args.figure:
        draw(cases, args.figure)


if __name__ == "__main__":
    main()
