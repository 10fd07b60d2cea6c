from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chaos_seg.reporting.overlays import PREDICTED_RGB, TRUE_RGB, draw_slice, overlay


def square(low: int, high: int) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[low:high, low:high] = True
    return mask


def test_outlines_lie_on_the_masks_borders_in_their_colours() -> None:
    picture = overlay(np.full((64, 64), -1000), square(10, 40), square(20, 50))
    assert picture.shape == (512, 512, 3) and picture.dtype == np.uint8
    true, predicted = ((picture == colour).all(-1) for colour in (TRUE_RGB, PREDICTED_RGB))
    rows, columns = np.nonzero(predicted)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (160, 399, 160, 399)
    rows, columns = np.nonzero(true)
    assert (rows.min(), columns.min()) == (80, 80) and not predicted[200, 300] and not true[100, 100]


@pytest.mark.parametrize(("hu", "grey"), [(-1000, 0), (-160, 0), (40, 128), (240, 255), (3000, 255)])
def test_grey_is_the_soft_tissue_window(hu: int, grey: int) -> None:
    nothing = np.zeros((16, 16), bool)
    assert set(np.unique(overlay(np.full((16, 16), hu), nothing, nothing))) == {grey}


def test_holes_are_outlined_too() -> None:
    ring = square(10, 50) & ~square(20, 40)
    picture = overlay(np.zeros((64, 64)), np.zeros((64, 64)), ring)
    assert (picture[160 - 1, 240] == PREDICTED_RGB).all() or (picture[160, 240] == PREDICTED_RGB).all()


def test_picture_is_written_whole(tmp_path: Path) -> None:
    path = draw_slice(
        np.zeros((32, 32)), square(0, 32)[:32, :32], square(0, 32)[:32, :32], "title", tmp_path / "f" / "a.png"
    )
    with Image.open(path) as image:
        image.load()
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
