"""A labelled scan beside its prediction: what is counted, slice by slice, as it is predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaos_seg.data.scan import Scan
from chaos_seg.evaluation import counts as score
from chaos_seg.evaluation.calibration import LEVELS, count_levels
from chaos_seg.evaluation.masks import LARGEST_BY, far_errors
from chaos_seg.evaluation.metrics import Case
from chaos_seg.evaluation.outlines import outline_suspicion
from chaos_seg.evaluation.scores import ChallengeScore, PatientScore, challenge_scores, patient_score
from chaos_seg.evaluation.temperature import BINS, LOGITS, count_logits
from chaos_seg.inference.alarms import alarms
from chaos_seg.inference.confidence import Confidence
from chaos_seg.inference.mask import PackedMask
from chaos_seg.inference.predictor import Predictor

FAR_MM = 5.0  # from the true outline: further is not a matter of where exactly it was drawn


@dataclass(frozen=True)
class ScoredScan:
    """A predicted scan beside its true mask."""

    volume: Scan
    side: str
    far: np.ndarray  # far_errors() of each slice, int64 (slices, 2)
    levels: np.ndarray  # count_levels(), int64 (2, 256)
    logits: np.ndarray  # count_logits() of the slices with liver, int64 (2, BINS)
    confidence: Confidence
    suspicion: list[float]  # outline_suspicion() of each slice; none of training patients, which the model knows
    case: Case

    @property
    def score(self) -> PatientScore:
        return patient_score(self.volume.name, self.side, self.case)

    def challenge(self) -> list[ChallengeScore]:
        """The challenge's metrics, of the mask and of its largest component."""
        predicted, true = np.stack(self.case.predicted), np.stack(self.case.true)
        return challenge_scores(self.volume.name, self.side, predicted, true, self.case.spacing_mm)

    def slice_rows(self) -> list[dict[str, Any]]:
        """Rows of per_slice.csv."""
        return [
            {
                "patient": self.volume.name,
                "rank": rank,
                "z_mm": float(self.volume.z_mm[rank]),
                **dict(zip(score.FIELDS, self.case.counts[rank].tolist(), strict=True)),
                **dict(zip(("fp_far", "fn_far"), self.far[rank].tolist(), strict=True)),
            }
            for rank in range(self.volume.slices)
        ]

    def guess_rows(self, threshold: float, challenge: Sequence[ChallengeScore]) -> list[dict[str, Any]]:
        """Rows of held_out.csv: the Dice guessed without the true mask, and what it is, of the mask and of its largest
        component, from which nothing lies apart.
        """
        guess = {
            "as predicted": alarms(self.case.predicted, self.volume, self.confidence).dice,
            "largest component": self.confidence.dice,
        }
        of_scan = {"patient": self.volume.name, "side": self.side, "threshold": threshold, "largest_by": LARGEST_BY}
        return [{**of_scan, "masks": row.masks, "guess": guess[row.masks], "dice": row.dice} for row in challenge]

    def outline_rows(self) -> list[dict[str, Any]]:
        """Rows of outlines.csv: how suspicious the true masks are."""
        of_scan = {"patient": self.volume.name, "side": self.side, "content": self.volume.content}
        return [{**of_scan, "rank": rank, "suspicion": value} for rank, value in enumerate(self.suspicion)]

    def level_rows(self) -> list[dict[str, Any]]:
        """Rows of calibration.csv."""
        other, liver = self.levels.tolist()
        return [
            {"patient": self.volume.name, "level": level, "other": other[level], "liver": liver[level]}
            for level in range(LEVELS)
        ]

    def logit_rows(self) -> list[dict[str, Any]]:
        """Rows of reliability.csv: the bins that have pixels."""
        other, liver = self.logits
        return [
            {
                "patient": self.volume.name,
                "logit": LOGITS[place],
                "other": int(other[place]),
                "liver": int(liver[place]),
            }
            for place in np.flatnonzero(other + liver).tolist()
        ]


def score_scan(volume: Scan, side: str, predictor: Predictor, threshold: float, bar: Any = None) -> ScoredScan:
    """Predict a labelled scan and count what its mask has right: liver is where 255 * probability > `threshold`."""
    mask, true_mask, counts, far, confidence, suspicion = PackedMask(), PackedMask(), [], [], [], []
    levels, logits = np.zeros((2, LEVELS), np.int64), np.zeros((2, BINS), np.int64)
    for rank, probability in enumerate(predictor.probabilities(volume)):
        predicted, true = probability * 255 > threshold, volume.mask(rank) > 0
        counts.append(score.count(predicted, true))
        far.append(far_errors(predicted, true, volume.mean_spacing_mm[1:], FAR_MM))
        levels += count_levels(probability, true)
        if true.any():
            logits += count_logits(probability, true)
        confidence.append(Confidence.row(probability, predicted))
        if side != "train":
            beside = [volume.mask(other) for other in (rank - 1, rank + 1) if 0 <= other < volume.slices]
            pixel_cm2 = float(np.prod(volume.mean_spacing_mm[1:])) / 100
            suspicion.append(outline_suspicion(true, beside, probability, predicted, pixel_cm2))
        mask.append(predicted)
        true_mask.append(true)
        if bar is not None:
            bar.update()
    z_mm, y_mm, x_mm = volume.mean_spacing_mm
    case = Case(np.array(counts), mask, true_mask, (z_mm or 1.0, y_mm, x_mm))  # one slice has no z
    return ScoredScan(volume, side, np.array(far), levels, logits, Confidence.of(confidence), suspicion, case)
