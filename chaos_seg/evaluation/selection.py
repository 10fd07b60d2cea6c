"""Failure detection judged as in Zenk et al. (Medical Image Analysis 101 (2025) 103392): which risk is left among the
scans or slices that are kept, when the most suspicious ones are taken out first."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RiskCoverage:
    """Risk against the share that is kept, both float64 (points,), from nothing to all; equal suspicion goes together.

    `selective` is the mean risk of what is kept, `generalized` its sum by the number of all: of silent failures.
    """

    coverage: np.ndarray
    selective: np.ndarray
    generalized: np.ndarray

    @property
    def aurc(self) -> float:
        """Area under the selective risk (Geifman and El-Yaniv, 2017), by trapezoids."""
        return float(np.trapezoid(self.selective, self.coverage))

    @property
    def augrc(self) -> float:
        """Area under the generalized risk (Traub et al., NeurIPS 2024), by trapezoids."""
        return float(np.trapezoid(self.generalized, self.coverage))


def risk_coverage(suspicion: np.ndarray, risk: np.ndarray) -> RiskCoverage:
    """The curve of keeping the least suspicious first.

    Args:
        suspicion: (n,), higher is taken out earlier; the risk itself gives the oracle, equal values chance.
        risk: (n,), such as 1 - Dice, or 1 for a failure and 0 for none.

    Raises:
        ValueError: nothing to judge, or a value that is not finite.
    """
    if not len(risk) or not np.isfinite([suspicion, risk]).all():
        raise ValueError("expected at least one suspicion and risk, all finite")
    order = np.argsort(suspicion, kind="stable")
    kept = np.flatnonzero(np.diff(suspicion[order], append=np.inf)) + 1  # counts at which no tie is cut
    total = np.cumsum(np.asarray(risk, float)[order])[kept - 1]
    selective = total / kept
    return RiskCoverage(
        coverage=np.concatenate([[0.0], kept / len(risk)]),
        selective=np.concatenate([selective[:1], selective]),
        generalized=np.concatenate([[0.0], total / len(risk)]),
    )
