import errno
import os
import shutil
import struct
import zipfile
from pathlib import Path

import pytest

from chaos_seg.data.sources import archive as module
from chaos_seg.data.sources.archive import unpack, unpacked
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.errors import UserError
from tests.data.sources.zips import CT, make_zip, of, visible


def bad_zip(path: Path, root: Path) -> str:
    """The refusal of a zip, which must leave nothing anywhere."""
    with pytest.raises(UserError) as error:
        unpack(path, root)
    assert str(error.value).startswith(f"{path}: expected ")
    assert visible(root.parent) == {} and not (root / ".unpacked" / f"{of(path).md5}.json").exists()
    return str(error.value)


def test_unpacks_what_the_zip_holds(phantom_zip: Path, files: dict[str, bytes], root: Path) -> None:
    assert len(files) == 56 and not unpacked(root, of(phantom_zip))
    assert unpack(phantom_zip, root) == [f"{CT}/{number}" for number in (1, 2, 3, 4)]
    assert visible(root) == files and list(find_patients(root)) == ["1", "2", "3", "4"]
    assert sorted(path.name for path in (root / CT).iterdir()) == ["1", "2", "3", "4"]
    assert unpacked(root, of(phantom_zip))


def test_leaves_out_litter_and_mr(files: dict[str, bytes], tmp_path: Path, root: Path) -> None:
    first = f"{CT}/1/DICOM_anon"
    litter = {
        "CHAOS/Train_Sets/MR/1/T2SPIR/DICOM_anon/IMG-0001-00001.dcm": b"mr",
        f"__MACOSX/CHAOS/{first}/IMG-0001-00001.dcm": b"mac",
        f"CHAOS/{first}/._IMG-0001-00001.dcm": b"mac",
        f"CHAOS/{first}/.DS_Store": b"mac",
        f"CHAOS/{first}/Thumbs.db": b"windows",
        f"CHAOS/{first}/deeper/IMG-0001-00001.dcm": b"deeper",
        f"CHAOS/{CT}/.1/DICOM_anon/IMG-0001-00001.dcm": b"hidden",
        f"CHAOS/{CT}/1/IMG-0001-00001.dcm": b"above",
        "CHAOS/": b"",
        f"CHAOS/{first}/": b"",
    }
    wanted = {"Test_Sets/CT/31/DICOM_anon/IMG-0001-00001.DCM": b"test set", "Test_Sets/CT/4/DICOM_anon/a.dcm": b"4"}
    path = make_zip(tmp_path / "a.zip", litter | {f"CHAOS/{name}": data for name, data in (files | wanted).items()})
    assert unpack(path, root) == ["Test_Sets/CT/4", "Test_Sets/CT/31", *(f"{CT}/{number}" for number in (1, 2, 3, 4))]
    assert visible(root) == files | wanted


@pytest.mark.parametrize(
    "name",
    [
        f"../{CT}/9/DICOM_anon/a.dcm",
        f"{CT}/../../../a.dcm",
        f"{CT}/9/DICOM_anon/..",
        f"/{CT}/9/DICOM_anon/a.dcm",
        f"C:/{CT}/9/DICOM_anon/a.dcm",
        f"..\\{CT}/9/DICOM_anon/a.dcm",
        f"{CT}/9/DICOM_anon/..\\a.dcm",
        f"{CT}/9/DICOM_anon/a.dcm\0.png",
        f"{CT}/9/DICOM_anon/a\n.dcm",
        f"{CT}/9/DICOM_anon/a\x7f.dcm",
        f"{CT}/9\x1b/DICOM_anon/a.dcm",
    ],
)
def test_unsafe_name(files: dict[str, bytes], tmp_path: Path, root: Path, name: str) -> None:
    text = bad_zip(make_zip(tmp_path / "a.zip", files | {name: b"evil"}), root)
    assert f"{name!r} has an unsafe name" in text and not (tmp_path / "a.dcm").exists()


@pytest.mark.parametrize("kind", [0o120777, 0o020666, 0o010666])
def test_link_or_special_file(files: dict[str, bytes], tmp_path: Path, root: Path, kind: int) -> None:
    path = make_zip(tmp_path / "a.zip", files)
    info = zipfile.ZipInfo(f"{CT}/1/DICOM_anon/z.dcm")
    info.external_attr = kind << 16
    with zipfile.ZipFile(path, "a") as zip_file:
        zip_file.writestr(info, "/etc/passwd")
    assert f"'{CT}/1/DICOM_anon/z.dcm' is a link or another special file" in bad_zip(path, root)


@pytest.mark.parametrize("name", [f"{CT}/1/Ground/liver_GT_000.png", f"again/{CT}/1/Ground/LIVER_GT_000.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entry_that_comes_twice(phantom_zip: Path, root: Path, name: str) -> None:
    with zipfile.ZipFile(phantom_zip, "a") as zip_file:
        zip_file.writestr(name, "evil")
    assert f"{name!r} comes twice" in bad_zip(phantom_zip, root)


def test_bombs(files: dict[str, bytes], tmp_path: Path, root: Path) -> None:
    big = f"{CT}/1/DICOM_anon/z.dcm"
    path = make_zip(tmp_path / "a.zip", {big: bytes(module.MAX_FILE + 1)})
    assert f"{big!r} has 67,108,865 bytes, more than 67,108,864" in bad_zip(path, root)
    path = make_zip(tmp_path / "a.zip", files | {f"{CT}/1/DICOM_anon/z{k}.dcm": bytes(30_000_000) for k in (1, 2)})
    assert f"expected at most 64 times the zip's size, {64 * path.stat().st_size:,} bytes" in bad_zip(path, root)


def edit_entry(path: Path, name: str, offset: int, form: str, value: int) -> None:
    """Change a field of an entry in the zip's table of contents."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\1\2", at + 1)
    struct.pack_into(form, data, at + offset, value)
    path.write_bytes(data)


def test_encrypted(phantom_zip: Path, root: Path) -> None:
    edit_entry(phantom_zip, f"{CT}/1/Ground/liver_GT_003.png", 8, "<H", 1)
    assert f"'{CT}/1/Ground/liver_GT_003.png' is encrypted" in bad_zip(phantom_zip, root)


@pytest.mark.parametrize("declared", [10, 5_000])
def test_stream_that_differs_from_its_declared_size(
    files: dict[str, bytes], tmp_path: Path, root: Path, declared: int
) -> None:
    name = f"{CT}/1/Ground/a.png"
    path = make_zip(tmp_path / "a.zip", files | {name: bytes(4_000)})
    edit_entry(path, name, 24, "<L", declared)
    assert "found a damaged one" in bad_zip(path, root)


@pytest.mark.parametrize("method", [9, 12, 14])  # Deflate64, bzip2, LZMA
def test_other_ways_of_compression(phantom_zip: Path, root: Path, method: int) -> None:
    edit_entry(phantom_zip, f"{CT}/1/Ground/liver_GT_003.png", 10, "<H", method)
    assert f"is compressed by method {method}, not stored or deflated" in bad_zip(phantom_zip, root)


def test_damaged_zip(phantom_zip: Path, root: Path, tmp_path: Path) -> None:
    sound = phantom_zip.read_bytes()
    with zipfile.ZipFile(phantom_zip) as zip_file:
        inside = zip_file.getinfo(f"{CT}/1/DICOM_anon/IMG-0001-00004.dcm").header_offset + 200
        first = zip_file.getinfo(f"{CT}/1/DICOM_anon/IMG-0001-00001.dcm")
        stream = first.header_offset + 30 + len(first.filename)
    flipped = sound[:inside] + bytes([sound[inside] ^ 1]) + sound[inside + 1 :]
    no_deflate = sound[:stream] + b"\xff" + sound[stream + 1 :]
    for data in (b"", b"<html></html>", sound[: len(sound) // 2], sound[:-10], sound[1000:], flipped, no_deflate):
        phantom_zip.write_bytes(data)
        assert "found a damaged one" in bad_zip(phantom_zip, root)
    for absent in (tmp_path / "none.zip", tmp_path):
        with pytest.raises(UserError, match=r"expected a zip of the CHAOS challenge, found no such file"):
            unpack(absent, root)


@pytest.mark.parametrize(
    ("edits", "found"),
    [
        ([(6, "<H", 255)], "zip file version"),
        ([(8, "<H", 0x800), (46, "<B", 0xFF)], "codec can't decode"),
        ([(10, "<H", 0), (20, "<L", 10**6), (24, "<L", 10**6)], ""),  # stored, and longer than the zip
        ([(42, "<L", 10**6)], ""),
    ],
    ids=["version", "name", "length", "place"],
)
def test_damaged_table_of_contents(
    phantom_zip: Path, root: Path, edits: list[tuple[int, str, int]], found: str
) -> None:
    for offset, form, value in edits:
        edit_entry(phantom_zip, f"{CT}/1/DICOM_anon/IMG-0001-00001.dcm", offset, form, value)
    text = bad_zip(phantom_zip, root)
    assert "found a damaged one" in text and found in text and "()" not in text


def test_damage_further_on_leaves_whole_patients(phantom_zip: Path, files: dict[str, bytes], root: Path) -> None:
    edit_entry(phantom_zip, f"{CT}/3/DICOM_anon/IMG-0003-00004.dcm", 16, "<L", 0)  # its CRC
    with pytest.raises(UserError, match="found a damaged one"):
        unpack(phantom_zip, root)
    assert visible(root) == {name: data for name, data in files.items() if name.split("/")[2] in "12"}
    assert not unpacked(root, of(phantom_zip))


def test_without_ct_patient(tmp_path: Path, root: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"Train_Sets/MR/1/DICOM_anon/a.dcm": b"mr", "readme.txt": b""})
    assert "found no CT patient among 2 entries" in bad_zip(path, root)
    assert not root.exists()


def test_too_little_disk(phantom_zip: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir(parents=True)
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=200_000))  # 56 files of at least 4096
    with pytest.raises(UserError, match=r"of free disk space for a.zip, found 0 MB"):
        unpack(phantom_zip, root)
    assert visible(root) == {}


def test_full_disk_leaves_whole_patients(
    phantom_zip: Path, files: dict[str, bytes], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 20:  # in the second patient, each having 14 files
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as error:
            unpack(phantom_zip, root)
    assert "/2/" in error.value.filename
    assert visible(root) == {name: data for name, data in files.items() if name.startswith(f"{CT}/1/")}
    unpack(phantom_zip, root)
    assert visible(root) == files
