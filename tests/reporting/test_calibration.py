from types import SimpleNamespace

import numpy as np
import pytest

from chaos_seg.evaluation.temperature import BINS, brier, calibration_error, count_logits
from chaos_seg.reporting.calibration import calibration_figure, calibration_table


def run(seed: int, temperature: float | None = 2.0, patients: int = 4) -> SimpleNamespace:
    rng, logits = np.random.default_rng(seed), {}
    for patient in range(patients):
        p = rng.random(500)
        logits[str(patient)] = count_logits(p, rng.random(500) < p**2)
    logits["val"] = np.ones((2, BINS), np.int64)
    sides = {"test": [*[*logits][:-1], "no liver"], "val": ["val"]}
    return SimpleNamespace(arm="dice", logits=logits, temperature=temperature, patients=lambda s: sides.get(s, []))


def test_each_patient_counts_once_before_and_after() -> None:
    runs = [run(0), run(1, temperature=3.0)]
    table = calibration_table(runs)  # type: ignore[arg-type]
    assert table is not None
    words = [row[1] for row in table.rows]
    assert words == ["as predicted", "temperature 2.00 to 3.00", "change"] and table.rows[0][-1] == 4
    for place, measure in ((2, calibration_error), (5, brier)):
        before, after = (
            np.mean([measure(r.logits[str(p)], t or r.temperature) for r in runs for p in range(4)])
            for t in (1.0, None)
        )
        assert [row[place] for row in table.rows] == pytest.approx([before, after, after - before])
        for row in table.rows:
            assert row[place + 1] < row[place] < row[place + 2]  # the interval


def test_runs_without_a_temperature_have_no_table_and_an_empty_figure() -> None:
    runs = [run(0, temperature=None)]
    assert calibration_table(runs) is None  # type: ignore[arg-type]
    assert calibration_figure(runs).axes  # type: ignore[arg-type]
