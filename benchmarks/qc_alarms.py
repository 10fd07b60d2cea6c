"""What alarms without labels are worth: how well they rank the slices whose Dice is below 0.8, on real scans.

    CHAOS_REAL_ROOT=/path/to/CHAOS python benchmarks/qc_alarms.py outputs/study_paper --store outputs/store

For every finished run of a study, its validation and test patients only, with the masks that the run kept (for another
checkpoint: the masks it predicts). Compared: the score of alarms() without disagreement, with the disagreement
of slices turned by -5, 0 and 5 degrees, and with that of passes under dropout; either disagreement alone; a small
predicted area alone; chance. A slice counts when it has liver in truth or prediction; then again over all slices, those
empty in both as good ones. No weight is fitted. Which disagreement is better is chosen for each patient on the others.
Goal: AUROC 0.85.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import rankdata

from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.store import StoredScan, open_patients
from chaos_seg.files import read_json
from chaos_seg.inference.alarms import alarms, disagreement
from chaos_seg.inference.predictor import Predictor
from chaos_seg.training.checkpoints import load_segmenter

BAD_DICE, FIRST = 0.8, 10
ANGLES = (0.0, -5.0, 5.0)
TURNED, DROPPED = "alarms, turned", "alarms, dropout"


@dataclass(frozen=True)
class Case:
    """One scan under one run: of each slice whether it is bad, whether it has liver, and its suspicion by ranking."""

    run: str
    patient: str
    bad: np.ndarray
    liver: np.ndarray
    suspicion: dict[str, np.ndarray]


def auroc(suspicion: np.ndarray, bad: np.ndarray) -> float:
    """The chance that a bad slice is ranked before a good one, ties half; NaN without either."""
    n, ranks = int(bad.sum()), rankdata(suspicion)
    if not 0 < n < len(bad):
        return float("nan")
    return float((ranks[bad].sum() - n * (n + 1) / 2) / (n * (len(bad) - n)))


def precision_first(suspicion: np.ndarray, bad: np.ndarray) -> float:
    """Share of bad slices among the first ten, where slices of equal suspicion share their places."""
    order = np.sort(suspicion)[::-1]
    edge = order[min(FIRST, len(order)) - 1]
    before, tied = suspicion > edge, suspicion == edge
    return float((bad[before].sum() + bad[tied].mean() * (min(FIRST, len(order)) - before.sum())) / FIRST)


def passes(
    checkpoint: Path, volume: StoredScan, dropout_passes: int
) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Of each slice the masks by angle, as ANGLES has them, and the masks under dropout."""
    segmenter, _ = load_segmenter(checkpoint)
    threshold = float(segmenter.hparams["threshold"])
    turned = Predictor([segmenter], torch.device("cpu"), rotations_deg=ANGLES)
    by_angle = [list(found * 255 > threshold) for found in turned.passes(volume)]
    straight = Predictor([segmenter], torch.device("cpu"))
    segmenter.net.dropout.train()
    torch.manual_seed(0)
    dropped = [straight.mask(volume, threshold) for _ in range(dropout_passes)]
    return by_angle, [[mask[rank] for mask in dropped] for rank in range(volume.slices)]


def examine(run: Path, name: str, volume: StoredScan, dropout_passes: int) -> Case:
    by_angle, dropped = passes(run / "checkpoints" / f"{name}.ckpt", volume, dropout_passes)
    predicted = np.stack([masks[0] for masks in by_angle])
    if name == "best":
        files = sorted((run / "predictions" / volume.name).glob("img*.png"))
        predicted = np.stack([np.asarray(Image.open(file)) > 0 for file in files])
    true = np.stack([volume.mask(rank) for rank in range(volume.slices)]) > 0
    total = np.count_nonzero(predicted, axis=(1, 2)) + np.count_nonzero(true, axis=(1, 2))
    both = np.count_nonzero(predicted & true, axis=(1, 2))
    disagree = {
        "turned": np.array([disagreement(np.stack(masks)) for masks in by_angle]),
        "dropout": np.array([disagreement(np.stack(masks)) for masks in dropped]),
    }

    def score(of: np.ndarray | None) -> np.ndarray:
        scores = np.zeros(len(predicted))
        for alarm in alarms(predicted, volume, of).slices:
            scores[alarm.rank] = alarm.score
        return scores

    return Case(
        run=run.name,
        patient=volume.name,
        bad=(total > 0) & (2 * both < BAD_DICE * total),
        liver=total > 0,
        suspicion={
            "alarms, masks only": score(None),
            TURNED: score(disagree["turned"]),
            DROPPED: score(disagree["dropout"]),
            "turned alone": disagree["turned"],
            "dropout alone": disagree["dropout"],
            "small area alone": -np.count_nonzero(predicted, axis=(1, 2)).astype(float),
            "chance": np.zeros(len(predicted)),
        },
    )


def joined(cases: Sequence[Case], name: str, all_slices: bool) -> tuple[np.ndarray, np.ndarray]:
    """Suspicion and badness of the slices that count in several scans."""
    chosen = [case.liver | all_slices for case in cases]
    suspicion = np.concatenate([case.suspicion[name][sel] for case, sel in zip(cases, chosen, strict=True)])
    return suspicion, np.concatenate([case.bad[sel] for case, sel in zip(cases, chosen, strict=True)])


def report(cases: Sequence[Case], all_slices: bool) -> None:
    patients, runs = (list(dict.fromkeys(names)) for names in zip(*((c.patient, c.run) for c in cases), strict=True))
    _, bad = joined(cases, "chance", all_slices)
    few = [min(FIRST, int(case.bad.sum())) / FIRST for case in cases]
    print(f"\n{'All slices' if all_slices else 'Slices with liver'}: {len(bad)}, of them {bad.sum()} bad")
    print(f"{'ranking':<20} AUROC  first ten: of a scan  of a run | AUROC within a scan, mean (least) over runs")
    print(f"{'':<20}{'':>31}{'':>7} | " + "  ".join(f"{'patient ' + patient:<13}" for patient in patients))
    for name in cases[0].suspicion:
        by_scan = [precision_first(*joined([case], name, all_slices)) for case in cases]
        by_run = [precision_first(*joined([c for c in cases if c.run == run], name, all_slices)) for run in runs]
        cells = []
        for patient in patients:
            values = [auroc(*joined([case], name, all_slices)) for case in cases if case.patient == patient]
            known = [value for value in values if value == value]
            cells.append(f"{np.mean(known):.3f} ({min(known):.3f})" if known else "none bad     ")
        print(
            f"{name:<20} {auroc(*joined(cases, name, all_slices)):.3f}  {np.mean(by_scan):>20.3f}  "
            f"{np.mean(by_run):>8.3f} | " + "  ".join(cells)
        )
    print(f"{'possible at most':<20} 1.000  {np.mean(few):>20.3f}")


def nested(cases: Sequence[Case]) -> None:
    """Of each patient the AUROC over all runs, with the disagreement that is better on the other patients."""
    for patient in dict.fromkeys(case.patient for case in cases):
        others = [case for case in cases if case.patient != patient]
        best = max((TURNED, DROPPED), key=lambda name: auroc(*joined(others, name, False)))
        own = [case for case in cases if case.patient == patient]
        suspicion, bad = joined(own, best, False)
        print(
            f"patient {patient}: {best!r} is better on the others, here AUROC {auroc(suspicion, bad):.3f} "
            f"({bad.sum()} of {len(bad)} slices bad); small area {auroc(*joined(own, 'small area alone', False)):.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="What alarms without labels are worth on real scans.")
    parser.add_argument("study", type=Path, help="the folder of a study's runs")
    parser.add_argument("--store", type=Path, required=True, help="where the decoded slices are")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--dropout-passes", type=int, default=6)
    args = parser.parse_args()
    if "CHAOS_REAL_ROOT" not in os.environ:
        sys.exit("Set CHAOS_REAL_ROOT to a CHAOS tree.")
    torch.set_num_threads(1)
    source, cases = chaos(Path(os.environ["CHAOS_REAL_ROOT"])), []
    for run in sorted(path.parent for path in args.study.glob("*/summary.json")):
        split = read_json(run / "split.json")
        for volume in open_patients(args.store, source, [*split["val"], *split["test"]]):
            cases.append(examine(run, args.checkpoint, volume, args.dropout_passes))
            print(f"{run.name} {volume.name}: {cases[-1].bad.sum()} bad slices", file=sys.stderr, flush=True)
    if not cases:
        sys.exit(f"{args.study}: expected folders of finished runs, found none.")
    report(cases, all_slices=False)
    report(cases, all_slices=True)
    print()
    nested(cases)


if __name__ == "__main__":
    main()
