from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.audit import audit, facts
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import decode
from tests.data.audit.faults import N


def test_facts_are_those_of_the_phantom(sound: Path, tmp_path: Path) -> None:
    volumes, _ = decode(tmp_path, find_patients(sound).values())
    measures, _ = audit(volumes, {})
    told = facts(volumes[0], measures["1"])
    under = np.concatenate([volumes[0].hu(k)[volumes[0].mask(k) > 0] for k in range(N)])
    assert (told["liver_hu_mean"], told["liver_hu_std"]) == (round(under.mean(), 1), round(under.std(), 1))
    assert told["liver_ml"] == pytest.approx(len(under) * 10 * (370 / 128) ** 2 / 1000, rel=1e-4)
    assert (told["z_along_file_names"], told["z_step_mm"], told["hu_max"]) == ("descends", pytest.approx(10), 49944)
    assert sum(measures["1"].histogram_under) == len(under)
    assert sum(measures["1"].histogram_outside) == N * 128 * 128 - len(under)
