from pathlib import Path

import cv2
import numpy as np
import pytest

from chaos_seg.data.scan import Scan
from chaos_seg.files import read_csv
from chaos_seg.inference.formats import writers_for
from chaos_seg.inference.formats.measures import ACROSS, TILE
from chaos_seg.reporting.overlays import PREDICTED_RGB

HU = np.arange(20 * 40 * 48, dtype=np.int16).reshape(20, 40, 48) % 97 - 20
MASK = np.zeros(HU.shape, bool)
MASK[5:9, 10:30, 12:30] = True


def scan(slices: int = 20) -> Scan:
    origin = np.array([[0, 0, 3.0 * rank] for rank in range(slices)])
    shape = (slices, *HU.shape[1:])
    return Scan("a", (), shape, origin, np.array([0, 0.5, 0]), np.array([0.5, 0, 0]), lambda rank: HU[rank])


def test_measures_are_those_of_the_voxels_under_the_mask(tmp_path: Path) -> None:
    writers_for(scan(), ["measures"])[0]["measures"].write(MASK, tmp_path)
    (row,) = read_csv(tmp_path / "measures.csv")
    assert (row["scan"], row["slices"], row["slices_with_liver"]) == ("a", "20", "4")
    assert float(row["volume_ml"]) == pytest.approx(4 * 20 * 18 * 0.5 * 0.5 * 3 / 1000)
    assert float(row["mean_hu"]) == pytest.approx(HU[MASK].mean())
    assert float(row["median_hu"]) == np.median(HU[MASK])


def test_an_empty_mask_has_no_hu(tmp_path: Path) -> None:
    writers_for(scan(), ["measures"])[0]["measures"].write(np.zeros_like(MASK), tmp_path)
    (row,) = read_csv(tmp_path / "measures.csv")
    assert (float(row["volume_ml"]), row["mean_hu"], row["median_hu"]) == (0, "nan", "nan")


@pytest.mark.parametrize(("mask", "pictures"), [(MASK, 4), (np.zeros_like(MASK), 12), (np.ones_like(MASK), 12)])
def test_a_preview_shows_the_liver_from_its_first_slice_to_its_last(
    mask: np.ndarray, pictures: int, tmp_path: Path
) -> None:
    writers_for(scan(), ["preview"])[0]["preview"].write(mask, tmp_path)
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "preview.png")), cv2.COLOR_BGR2RGB)
    assert picture.shape == (TILE * pictures // ACROSS, TILE * ACROSS, 3)
    tiles = [picture[40:TILE, k * TILE : (k + 1) * TILE].astype(int) for k in range(ACROSS)]
    orange = [(np.abs(tile - PREDICTED_RGB).max(axis=-1) < 40).any() for tile in tiles]
    assert orange == [bool(mask.any())] * ACROSS


def test_a_preview_of_one_slice(tmp_path: Path) -> None:
    writers_for(scan(1), ["preview"])[0]["preview"].write(MASK[5:6], tmp_path)
    assert cv2.imread(str(tmp_path / "preview.png")).shape == (TILE, TILE * ACROSS, 3)
