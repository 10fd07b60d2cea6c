"""How well planted outline errors are found: area under precision-recall, beside cleanlab's score and chance.

    CHAOS_REAL_ROOT=/path/to/CHAOS python benchmarks/outline_errors.py outputs/study_kfold/* --store outputs/store

In the patients that the runs held out for testing, five rounds of 40 errors, eight of each kind, each in a slice of its
own, or with --slices 3 in three that follow each other: a lobe cut off (15 to 30 % of the area), the outline 5 mm
shrunk or grown, a vessel of 8 to 12 mm beside it filled, a piece of kidney (soft tissue 15 to 50 mm to the back)
added. True masks count as sound, though some may not be. Needs cleanlab for its score, which stands at - without it.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.store import StoredScan, open_patients
from chaos_seg.evaluation.outlines import outline_suspicion
from chaos_seg.inference.predictor import Predictor
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.checkpoints import load_model

KINDS, ROUNDS, ERRORS = ("lobe", "shrunk", "grown", "vessel", "kidney"), 5, 40
LEAST_CM2, LEAST_ERROR_CM2 = 15.0, 0.8
Place = tuple[str, int]


class Patient:
    """A held-out patient: its masks, HU and the probabilities by the run that tested on it."""

    def __init__(self, scan: StoredScan, predictor: Predictor):
        self.px, self.threshold = scan.spacing_mm[1], predictor.models[0].threshold
        self.hu = [scan.hu(rank) for rank in range(scan.slices)]
        self.true = [scan.mask(rank) > 0 for rank in range(scan.slices)]
        self.probability = list(predictor.probabilities(scan))

    def scores(self, masks: list[np.ndarray], rank: int) -> dict[str, float]:
        probability, beside = self.probability[rank], [masks[k] for k in (rank - 1, rank + 1) if 0 <= k < len(masks)]
        predicted = probability * 255 > self.threshold
        found = {"this project's": outline_suspicion(masks[rank], beside, probability, predicted, self.px**2 / 100)}
        found["  probabilities alone"] = outline_suspicion(masks[rank], [], probability, predicted, 1)
        both, either = np.count_nonzero(masks[rank] & predicted), np.count_nonzero(masks[rank] | predicted)
        found["1 - Dice"] = 1 - 2 * both / (both + either) if either else 0.0
        try:
            from cleanlab.segmentation.rank import get_label_quality_scores  # type: ignore[import-not-found]
        except ImportError:
            return found
        classes = np.stack([1 - probability, probability])[None]
        quality, _ = get_label_quality_scores(masks[rank][None].astype(int), classes, verbose=False)
        return found | {"cleanlab": 1 - float(quality[0])}


def disc(mm: float, px: float) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(mm / px)) + 1,) * 2)


def planted(kind: str, mask: np.ndarray, hu: np.ndarray, px: float, rng: np.random.Generator) -> np.ndarray | None:
    """The mask with an error, bool (rows, columns); None where there is no place for it."""
    m = mask.astype(np.uint8)
    rows, columns = np.nonzero(m)
    if kind in ("shrunk", "grown"):
        return (cv2.erode if kind == "shrunk" else cv2.dilate)(m, disc(5, px)) > 0
    if kind == "lobe":
        angle = rng.uniform(0, 2 * np.pi)
        along = rows * np.sin(angle) + columns * np.cos(angle)
        off = along > np.quantile(along, rng.uniform(0.7, 0.85))
        m[rows[off], columns[off]] = 0
        return m > 0
    added = np.zeros_like(m)
    if kind == "vessel":
        soft = (hu > 0) & (hu < 350)
        places = np.argwhere((cv2.dilate(m, disc(3, px)) > 0) & ~mask & soft)
        radii = (round(rng.uniform(8, 12) / px),) * 2
    else:
        soft = cv2.morphologyEx(((hu > 10) & (hu < 300) & ~mask).astype(np.uint8), cv2.MORPH_OPEN, disc(6, px)) > 0
        away = cv2.distanceTransform(1 - m, cv2.DIST_L2, 5) * px
        back = np.arange(len(m))[:, None] > rows.mean()
        places = np.argwhere(soft & (away > 15) & (away < 50) & back)
        radii = (round(rng.uniform(18, 25) / px), round(rng.uniform(22, 30) / px))
    if len(places) < 10:
        return None
    row, column = places[rng.integers(len(places))]
    cv2.ellipse(added, (int(column), int(row)), radii, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return mask | ((added > 0) & soft)


def average_precision(score: np.ndarray, error: np.ndarray) -> float:
    hit = error[np.argsort(-score, kind="stable")]
    return float((np.cumsum(hit)[hit] / (np.flatnonzero(hit) + 1)).mean())


def plant(
    patients: Mapping[str, Patient], order: list[Place], slices: int, seed: int
) -> tuple[dict[Place, str], dict[str, list[np.ndarray]]]:
    """Errors by place and the masks with them, from the first places of `order`, which are used up."""
    masks = {name: list(patient.true) for name, patient in patients.items()}
    errors: dict[Place, str] = {}
    while len(errors) < ERRORS and order:
        name, middle = order.pop(0)
        patient, kind = patients[name], KINDS[len(errors) // slices % len(KINDS)]
        ranks = [middle + k for k in range(-(slices // 2), slices // 2 + 1)]
        if any((name, rank) in errors or not 0 <= rank < len(patient.true) for rank in ranks):
            continue
        new = [  # the same error in each slice
            planted(kind, patient.true[rank], patient.hu[rank], patient.px, np.random.default_rng((seed, middle)))
            if patient.true[rank].any()
            else None
            for rank in ranks
        ]
        wrong = {rank: mask for rank, mask in zip(ranks, new, strict=True) if mask is not None}
        areas = [np.count_nonzero(mask ^ patient.true[rank]) * patient.px**2 / 100 for rank, mask in wrong.items()]
        if len(wrong) == len(ranks) and min(areas) >= LEAST_ERROR_CM2:
            for rank, mask in wrong.items():
                masks[name][rank], errors[name, rank] = mask, kind
    return errors, masks


def main() -> None:
    parser = argparse.ArgumentParser(description="How well planted outline errors are found.")
    parser.add_argument("runs", nargs="+", type=Path, help="runs of folds, which tested on patients that they held out")
    parser.add_argument("--store", type=Path, required=True, help="where the decoded slices are")
    parser.add_argument("--slices", type=int, choices=(1, 3), default=1, help="that an error covers")
    args = parser.parse_args()
    if "CHAOS_REAL_ROOT" not in os.environ:
        sys.exit("Set CHAOS_REAL_ROOT to a CHAOS tree.")
    torch.set_num_threads(1)
    source, patients = chaos(Path(os.environ["CHAOS_REAL_ROOT"])), {}
    for run in map(RunFolder, args.runs):
        if run.status == "finished":
            predictor = Predictor([load_model(run.checkpoint("best"))[0]], torch.device("cpu"))
            for scan in open_patients(args.store, source, run.split().test):
                patients[scan.name] = Patient(scan, predictor)
                print(f"{run.path.name}: {scan.name}", file=sys.stderr, flush=True)
    places = [
        (name, rank)
        for name, patient in patients.items()
        for rank, mask in enumerate(patient.true)
        if np.count_nonzero(mask) * patient.px**2 > 100 * LEAST_CM2
    ]
    order = [places[k] for k in np.random.default_rng(0).permutation(len(places))] * args.slices
    areas: dict[str, list[float]] = {}
    for seed in range(ROUNDS):
        errors, masks = plant(patients, order, args.slices, seed)
        every = [(name, rank) for name, patient in patients.items() for rank in range(len(patient.true))]
        scores = [patients[name].scores(masks[name], rank) for name, rank in every]
        error = np.array([place in errors for place in every])
        for method in scores[0]:
            score = np.array([one[method] for one in scores])
            for kind in ("all", *KINDS):
                chosen = np.array([kind == "all" or errors.get(place, kind) == kind for place in every])
                if error[chosen].any():
                    areas.setdefault(f"{method}|{kind}", []).append(average_precision(score[chosen], error[chosen]))
        areas.setdefault("chance|all", []).append(float(error.mean()))
        print(f"round {seed + 1}: {len(errors)} errors in {len(every)} slices", file=sys.stderr, flush=True)
    print(f"{'area under precision-recall':<28}" + "".join(f"{kind:>8}" for kind in ("all", *KINDS)))
    for method in dict.fromkeys(key.split("|")[0] for key in areas):
        cells = [np.mean(areas.get(f"{method}|{kind}", [np.nan])) for kind in ("all", *KINDS)]
        print(f"{method:<28}" + "".join(f"{cell:8.3f}" for cell in cells))


if __name__ == "__main__":
    main()
