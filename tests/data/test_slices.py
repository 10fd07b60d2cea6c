"""What a file says of itself: a slice with its place, or why it is none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.slices import LeftOut, Slice, read_place

STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


def test_a_slice_has_its_place_in_mm(write_series: Callable[..., list[Path]], tmp_path: Path) -> None:
    first, second = (
        read_place(path) for path in write_series(tmp_path, np.zeros((2, 4, 5), int), np.array([7.0, -4, 12]), STEPS)
    )
    assert isinstance(first, Slice) and isinstance(second, Slice)
    assert (first.size, first.spacing_mm.tolist(), first.z_mm, second.z_mm) == ((4, 5), [0.8, 0.6], 12, 9)
    assert first.position_mm.tolist() == [7, -4, 12] and first.normal.tolist() == [0, 0, 1]
    assert first.same_geometry(second) and first.instance != second.instance


@pytest.mark.parametrize(
    ("tags", "reason", "lost"),
    [
        ({"Modality": "MR"}, "no CT but MR of series 1", False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a scout", False),
        ({"RescaleType": "OD"}, "no HU but OD", True),
        ({"NumberOfFrames": 2}, "several frames or colours", True),
        ({"PixelSpacing": None}, "no ImagePositionPatient, ImageOrientationPatient, PixelSpacing or size", True),
        ({"PixelSpacing": [0.0, 1.0]}, "that can be used to place a mask", True),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "that can be used to place a mask", True),
    ],
)
def test_what_is_no_slice_says_why(
    write_series: Callable[..., list[Path]], tmp_path: Path, tags: dict[str, object], reason: str, lost: bool
) -> None:
    (path,) = write_series(tmp_path, np.zeros((1, 4, 5), int), np.zeros(3), STEPS, **tags)
    found = read_place(path)
    assert isinstance(found, LeftOut) and reason in found.reason and found.lost == lost


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    assert read_place(tmp_path / "notes.txt") is None
    torn = read_place(tmp_path / "gone.dcm")
    assert isinstance(torn, LeftOut) and torn.lost and "No such file" in torn.reason
