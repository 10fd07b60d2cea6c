"""What counts once in a series: copies, and not slices that only share a UID or their looks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.scan import Scan
from chaos_seg.data.scans import find_scans
from chaos_seg.errors import UserError

Write = Callable[..., list[Path]]
Change = Callable[..., None]
STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])


def volume(slices: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, (slices, 6, 5))


def opened(place: Path) -> list[Scan]:
    return [found.open() for found in find_scans(place).scans]


@pytest.mark.parametrize("uid", ["", "1.2.3"])
@pytest.mark.parametrize("meta", ["", "1.2.3", None])
def test_slices_that_share_a_uid_are_all_kept(
    write_series: Write, tmp_path: Path, uid: str, meta: str | None, change: Change
) -> None:
    """As anonymisers leave them; the file's meta information may still have the right ones."""
    hu = volume()
    paths = write_series(tmp_path, hu, np.zeros(3), STEPS)
    tags = {} if meta is None else {"MediaStorageSOPInstanceUID": meta}
    change(paths, SOPInstanceUID=uid, SeriesInstanceUID="", StudyInstanceUID="", **tags)
    (scan,) = opened(tmp_path)
    assert all((scan.hu(rank) == hu[rank]).all() for rank in range(5)) and scan.shape[0] == 5
    known = uid == "" and meta is None
    assert (len(set(scan.instances)) == 5) == known
    assert ("5 slices share one SOPInstanceUID, or have none; all are kept" in scan.warnings) != known


def test_a_copy_is_the_same_instance_at_the_same_place_with_the_same_content(
    write_series: Write, tmp_path: Path, change: Change
) -> None:
    hu = volume()
    paths = write_series(tmp_path / "in", hu, np.zeros(3), STEPS)
    (tmp_path / "in" / "z").mkdir()
    for path in paths[:2]:
        shutil.copy(path, tmp_path / "in" / "z" / f"copy_of_{path.name}")
    change([tmp_path / "in" / "z" / f"copy_of_{paths[1].name}"], PatientComments="sent twice")  # another header
    search = find_scans(tmp_path / "in")
    assert [found.open().shape[0] for found in search.scans] == [5]
    assert sorted(item.path.name for item in search.left_out) == sorted(f"copy_of_{p.name}" for p in paths[:2])
    assert all("a copy of a slice that is there" in item.reason and not item.lost for item in search.left_out)
    shutil.rmtree(tmp_path / "in" / "z")
    shutil.copytree(tmp_path / "in", tmp_path / "scaled" / "a")
    change(list(Path(shutil.copytree(tmp_path / "in", tmp_path / "scaled" / "b")).iterdir()), PixelSpacing=[0.9, 0.9])
    assert [scan.spacing_mm for scan in opened(tmp_path / "scaled")] == [(3, 0.8, 0.6), (3, 0.9, 0.9)]
    other = tmp_path / "in" / "other.dcm"
    shutil.copy(paths[2], other)
    change([other], PixelData=(np.zeros((6, 5)) + 7).astype("<i2").tobytes())  # the same instance, another picture
    with pytest.raises(UserError, match=r"found .* 0.00 mm apart at -6.00 mm"):
        opened(tmp_path / "in")


def test_slices_of_one_uid_that_look_the_same_lie_at_several_places(write_series: Write, tmp_path: Path) -> None:
    """As those of air above a patient whose UIDs were lost."""
    write_series(tmp_path, np.full((5, 6, 5), -1000), np.zeros(3), STEPS, SOPInstanceUID="1.2.3")
    assert [scan.shape[0] for scan in opened(tmp_path)] == [5]
