from pathlib import Path

import numpy as np
import pytest

from chaos_seg.inference.formats import Levels
from chaos_seg.inference.levels import KeptLevels


def test_probabilities_are_kept_as_whole_numbers_and_read_slice_by_slice(tmp_path: Path) -> None:
    kept = KeptLevels(tmp_path / "levels", Levels(65535, calibrated=False))
    volume = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    for plane in volume:
        kept.append(plane)
    assert len(kept) == 3 and np.abs(np.stack(kept[:]) / 65535 - volume).max() <= 0.5 / 65535 + 1e-7
    with pytest.raises(IndexError):
        kept[3]
    turned = np.stack(kept[:]).transpose(1, 0, 2)
    kept.replace(np.ascontiguousarray(turned))
    assert np.array_equal(np.stack(kept[:]), turned)
