import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.scans import find_scans as search
from chaos_seg.errors import UserError

Write = Callable[..., list[Path]]


STEPS = np.array([[0, 0, -3.0], [0, 0.8, 0], [0.6, 0, 0]])  # as in CHAOS: from the head down, to the back, to the left


def volume(slices: int = 4, rows: int = 6, columns: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (slices, rows, columns))


def test_a_zip_is_unpacked_and_searched(write_series: Write, tree: Path, tmp_path: Path) -> None:
    hu = volume()
    write_series(tmp_path / "ct", hu, np.zeros(3), STEPS)
    (tmp_path / "in").mkdir()
    shutil.make_archive(str(tmp_path / "in" / "one"), "zip", tmp_path / "ct")
    shutil.make_archive(str(tmp_path / "tree"), "zip", tree)
    with pytest.raises(UserError, match=r"1 left out, a zip: unpack it: one\.zip"):
        search(tmp_path / "in")
    result = search(tmp_path / "in", tmp_path / "unpacked")
    assert [scan.name for scan in result.scans] == ["one"] and result.left_out == []
    assert all((result.scans[0].open().hu(rank) == hu[rank]).all() for rank in range(4))
    assert [scan.name for scan in search(tmp_path / "tree.zip", tmp_path / "more").scans] == ["1", "2", "3", "4"]
    data = bytearray((tmp_path / "in" / "one.zip").read_bytes())
    data[300:400] = bytes(100)
    (tmp_path / "in" / "damaged.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "in" / "evil.zip", "w") as evil:
        evil.writestr("../../escaped.dcm", b"x")
    for name, entries in (("twice", ("d/a.dcm", "d//a.dcm")), ("inside", ("a", "a/b")), ("long", ("n" * 300,))):
        with zipfile.ZipFile(tmp_path / "in" / f"{name}.zip", "w") as odd:
            for entry in entries:
                odd.writestr(entry, b"x")
    with zipfile.ZipFile(tmp_path / "in" / "torn_tree.zip", "w") as torn:
        torn.writestr("Train_Sets/CT/1/DICOM/a.dcm", b"x")
    with zipfile.ZipFile(tmp_path / "in" / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("zeros", bytes(10_000_000))
    result = search(tmp_path / "in", tmp_path / "again")
    assert [scan.name for scan in result.scans] == ["one"] and not (tmp_path / "escaped.dcm").exists()
    reasons = {item.path.name: item.reason for item in result.left_out}
    assert "found a damaged one" in reasons["damaged.zip"] and "unsafe name" in reasons["evil.zip"]
    assert all("some take another's place" in reasons[name] for name in ("twice.zip", "inside.zip"))
    assert "it can't be unpacked (File name too long)" in reasons["long.zip"] and "torn_tree.zip" in reasons
    assert "at most 64 times the zip" in reasons["bomb.zip"] and all(item.lost for item in result.left_out)
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["one", "torn_tree"]
