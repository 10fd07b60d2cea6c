from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chaos_seg.data.scan import Scan
from chaos_seg.reporting.overlays import PREDICTED_RGB, TRUE_RGB, draw_slice, marked, overlay


def square(low: int, high: int) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[low:high, low:high] = True
    return mask


def scan(column_mm: float = 2.0, row_mm: float = 2.0) -> Scan:
    origin, row, column = np.zeros((1, 3)), np.array([0, row_mm, 0]), np.array([column_mm, 0, 0])
    return Scan("a", (), (1, 64, 64), origin, row, column, lambda rank: np.zeros((64, 64), np.int16))


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
    path = draw_slice(scan(), 0, square(0, 32), square(0, 32), "title", tmp_path / "f" / "a.png")
    with Image.open(path) as image:
        image.load()
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_where_only_one_of_the_masks_lies_is_shaded_in_its_colour() -> None:
    picture = overlay(np.full((64, 64), -1000), square(10, 40), square(20, 50)).astype(int)
    grey, missed, added = picture[30 * 8, 30 * 8], picture[12 * 8, 12 * 8], picture[45 * 8, 45 * 8]
    assert (grey == 0).all()  # both agree: nothing hides the liver
    assert np.abs(missed - 0.3 * np.array(TRUE_RGB)).max() <= 1
    assert np.abs(added - 0.3 * np.array(PREDICTED_RGB)).max() <= 1


def test_the_sides_follow_the_scan_and_the_bar_is_five_centimetres() -> None:
    """A scan stored from the patient's left to his right shows the same letters at the other edges."""
    blank = np.zeros((512, 512, 3), np.uint8)
    usual, turned, fine = (
        marked(blank.copy(), one, factor=8) for one in (scan(), scan(column_mm=-2.0), scan(column_mm=0.5))
    )
    left, right = slice(0, 60), slice(452, 512)
    assert usual[200:300, left].any() and usual[200:300, right].any()
    assert (usual[:, left] != turned[:, left]).any() and (usual[200:280, 200:300] == turned[200:280, 200:300]).all()
    row = int(0.95 * 512)  # 50 mm of 2 mm pixels, enlarged 8 times; 10 mm where 50 would take half the picture
    for picture, pixels in ((usual, 200), (fine, 160)):
        assert abs(int((picture[row, :230] == 255).all(axis=-1).sum()) - pixels) <= 3
