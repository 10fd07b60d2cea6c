"""A zip unpacked again: after a kill, by two at once, on top of other files."""

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos_seg.data.sources import archive as module
from chaos_seg.data.sources.archive import Archive, unpack, unpacked
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.errors import UserError
from tests.data.sources.zips import CT, make_zip, of, visible


def test_second_unpack_writes_no_file(phantom_zip: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpack(phantom_zip, root)
    (root / CT / "1" / "notes.txt").write_text("the user's")
    (root / CT / "1" / "Ground" / ".DS_Store").write_text("of a Mac")
    monkeypatch.setattr(module, "write_bytes", lambda path, data: pytest.fail("written again"))
    assert len(unpack(phantom_zip, root)) == 4
    assert (root / CT / "1" / "notes.txt").exists()


def test_other_files_are_kept_unless_told(phantom_zip: Path, files: dict[str, bytes], root: Path) -> None:
    unpack(phantom_zip, root)
    (root / CT / "2" / "Ground" / "liver_GT_003.png").write_bytes(b"the user's own")
    (root / CT / "3" / "Ground" / "liver_GT_007.png").write_bytes(b"one too many")
    shutil.rmtree(root / CT / "4")
    before = visible(root)
    with pytest.raises(UserError, match=f"other files in {CT}/2, {CT}/3; give overwrite=true"):
        unpack(phantom_zip, root)
    assert visible(root) == before
    assert len(unpack(phantom_zip, root, overwrite=True)) == 4
    assert visible(root) == files and len(list((root / CT).iterdir())) == 4


def test_overwrite_replaces_a_link_not_what_it_leads_to(
    phantom_zip: Path, files: dict[str, bytes], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "own" / "DICOM_anon").mkdir(parents=True)
    (tmp_path / "own" / "DICOM_anon" / "a.dcm").write_bytes(b"own")
    (root / CT).mkdir(parents=True)
    (root / CT / "1").symlink_to(tmp_path / "own")
    (root / CT / "2").symlink_to(tmp_path / "nowhere")
    (root / CT / "3").write_text("a file")
    with pytest.raises(UserError, match=f"{CT}/1, {CT}/2, {CT}/3;"):
        unpack(phantom_zip, root)
    unpack(phantom_zip, root, overwrite=True)
    assert visible(root) == files and (tmp_path / "own" / "DICOM_anon" / "a.dcm").read_bytes() == b"own"


KILLED = """
import os, signal, sys
from pathlib import Path
from chaos_seg.data.sources import archive

left = int(sys.argv[3])

def counted(function):
    def call(*args):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args)
    return call

if sys.argv[4] == "write":
    archive.write_bytes = counted(archive.write_bytes)
else:
    Path.rename = counted(Path.rename)
archive.unpack(Path(sys.argv[1]), Path(sys.argv[2]), overwrite=True)
"""


@pytest.mark.parametrize(
    ("what", "done", "patients"),
    [("write", 20, "1"), ("rename", 0, ""), ("rename", 3, "123")],
    ids=["between two files", "before the first is in place", "before the last is in place"],
)
def test_killed_unpack_leaves_none_or_whole(
    phantom_zip: Path, files: dict[str, bytes], root: Path, what: str, done: int, patients: str
) -> None:
    command = [sys.executable, "-c", KILLED, str(phantom_zip), str(root), str(done), what]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    there = {path.name for path in (root / CT).iterdir()}
    assert there == {*patients, ".partial"} and not unpacked(root, of(phantom_zip))
    if patients:
        assert list(find_patients(root)) == list(patients)  # what is half done is no patient
    assert {name for name in visible(root) if "/.partial/" not in name} == {
        name for name in files if name.split("/")[2] in patients
    }
    unpack(phantom_zip, root)
    assert visible(root) == files and unpacked(root, of(phantom_zip))


def test_killed_overwrite_loses_no_patient(phantom_zip: Path, files: dict[str, bytes], root: Path) -> None:
    own = root / CT / "1" / "DICOM_anon" / "a.dcm"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own")
    command = [sys.executable, "-c", KILLED, str(phantom_zip), str(root), "1", "rename"]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert not own.exists()  # moved out of the way, and its successor was not in place yet
    with pytest.raises(UserError, match=f"other files in {CT}/1;"):
        unpack(phantom_zip, root)
    assert visible(root) == {f"{CT}/1/DICOM_anon/a.dcm": b"own"}
    unpack(phantom_zip, root, overwrite=True)
    assert visible(root) == files


def test_two_at_once(phantom_zip: Path, files: dict[str, bytes], root: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(unpack, phantom_zip, root) for _ in range(2)]
        assert [len(result.result()) for result in results] == [4, 4]
    assert visible(root) == files


def test_unpacked_needs_every_file_but_not_the_zip(phantom_zip: Path, root: Path) -> None:
    archive = of(phantom_zip)
    unpack(phantom_zip, root)
    phantom_zip.unlink()
    assert unpacked(root, archive) and unpacked(root, Archive("", 0, archive.md5.upper()))
    assert not unpacked(root, Archive(archive.url, archive.bytes, "0" * 32))
    mask = root / CT / "3" / "Ground" / "liver_GT_002.png"
    data = mask.read_bytes()
    mask.write_bytes(data[:-1])
    assert not unpacked(root, archive)
    mask.unlink()
    assert not unpacked(root, archive)
    mask.write_bytes(data)
    assert unpacked(root, archive)
    for damaged in ("", "[]", "{}", '{"patients": 1}', '{"patients": ["1"]}'):
        (root / ".unpacked" / f"{archive.md5}.json").write_text(damaged)
        assert not unpacked(root, archive)


def test_train_and_test_zips_share_a_root(files: dict[str, bytes], tmp_path: Path, root: Path) -> None:
    train = make_zip(tmp_path / "train.zip", files)
    test = make_zip(tmp_path / "test.zip", {"Test_Sets/CT/31/DICOM_anon/a.dcm": b"31"})
    unpack(train, root)
    assert not unpacked(root, of(test))
    assert unpack(test, root) == ["Test_Sets/CT/31"]
    assert unpacked(root, of(train)) and unpacked(root, of(test))
    shutil.rmtree(root / "Test_Sets")
    assert unpacked(root, of(train)) and not unpacked(root, of(test))
