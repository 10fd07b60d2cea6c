from dataclasses import replace

import numpy as np

from chaos_seg.api import as_scan
from chaos_seg.data.greys import AS_HU, as_ct, percentiles


def test_percentiles_are_those_of_numpy_over_all_slices() -> None:
    volume = np.random.default_rng(0).integers(-2000, 30000, (3, 20, 30)).astype(np.int16)
    expected = np.percentile(volume, (1, 50, 99), method="inverted_cdf")
    assert percentiles(as_scan(volume), (1, 50, 99)).tolist() == expected.tolist()


def test_mr_is_shown_between_its_percentiles_and_ct_as_it_is() -> None:
    scan = as_scan(np.arange(1000, dtype=np.int16).reshape(1, 20, 50))
    assert as_ct(scan) is scan
    shown = as_ct(replace(scan, modality="MR")).hu(0)
    assert (shown[0, 9], shown[19, 39]) == AS_HU and (np.diff(shown.ravel()) >= 0).all()
