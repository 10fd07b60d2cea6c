"""PNG masks, numbered so that their names sort."""

from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.dicom import read_mask
from chaos_seg.inference.formats.png import write_png


@pytest.mark.parametrize(("slices", "first"), [(2, "img000.png"), (1000, "img000.png"), (1001, "img0000.png")])
def test_names_sort_as_the_slices_do(tmp_path: Path, slices: int, first: str) -> None:
    mask = np.zeros((slices, 2, 3), bool)
    mask[-1, 1, 2] = True
    write_png(mask, tmp_path / "png")
    paths = sorted((tmp_path / "png").iterdir())
    assert paths[0].name == first and len(paths) == slices
    assert read_mask(paths[-1])[1].tolist() == [[0, 0, 0], [0, 0, 1]] and not read_mask(paths[0])[1].any()
