from collections.abc import Callable
from pathlib import Path

import numpy as np

from chaos_seg.data.scans import find_scans
from chaos_seg.inference.formats.series import UID, Series


def test_common_values_are_the_series_own_and_made_up_ones_are_said(
    write_series: Callable[..., list[Path]], tmp_path: Path
) -> None:
    write_series(tmp_path, np.zeros((3, 8, 6)), np.zeros(3), np.array([[0, 0, 4.0], [0, 2.0, 0], [3.0, 0, 0]]))
    scan = find_scans(tmp_path).scans[0].open()
    series = Series(scan)
    assert (series.common.Rows, series.common.Columns) == (8, 6)
    assert [float(mm) for mm in series.common.PixelSpacing] == [2.0, 3.0] and series.common.Modality == "CT"
    assert float(series.common.SliceThickness) == 4.0 and all(map(UID.fullmatch, series.instances))
    assert list(scan.instances) == series.instances
