import numpy as np
import pytest

from chaos_seg.api import as_scan
from chaos_seg.data.greys import percentiles as percentiles_of
from chaos_seg.data.preprocessing.percentiles import Percentiles
from chaos_seg.errors import UserError


def test_percentiles_are_those_of_the_whole_scan() -> None:
    volume = np.arange(2 * 10 * 10, dtype=np.int16).reshape(2, 10, 10) * 20  # 0 to 3980, a step each pixel
    scan, percentiles = as_scan(volume), Percentiles(10, low=10, high=90)
    seen = [percentiles.image(percentiles.hu(scan, rank))[..., 0] for rank in range(2)]
    low, high = percentiles_of(scan, (10, 90))
    assert (low, high) == (19 * 20, 179 * 20)
    expected = np.clip((volume - float(low)) / (high - low) * 2 - 1, -1, 1)
    assert np.stack(seen) == pytest.approx(expected, abs=0.6 / 175)  # rounded
    brighter = as_scan(volume * 3 + 7)  # no unit: the same input
    assert percentiles.image(percentiles.hu(brighter, 1))[..., 0] == pytest.approx(seen[1])


def test_percentiles_of_a_scan_of_one_grey_and_wrong_ones() -> None:
    flat, percentiles = as_scan(np.full((1, 4, 4), 7)), Percentiles(4)
    assert (percentiles.image(percentiles.hu(flat, 0)) == -1).all()
    with pytest.raises(UserError, match=r"low=9 and high=2: expected percentages, the first below the second"):
        Percentiles(4, low=9, high=2)
