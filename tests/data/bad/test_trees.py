"""Damaged and hostile CHAOS trees: indexed or refused in a sentence."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos_seg.data.dicom import read_mask, read_slice
from chaos_seg.data.sources.chaos import find_patients, pair_slices
from chaos_seg.data.store import decode, open_volumes
from chaos_seg.errors import UserError
from tests.data.bad.files import dicom_files, mask_files
from tests.data.bad.limits import at_once, fuzz, one_line

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom remarks on what is written here


NAMES = st.one_of(
    st.sampled_from(
        ["1", "2", "3", "01", "²", "٣", "1\n2", "\x1b[31m3", "a\u202eb", "liver_GT_001", "i0001,0000b", "-"]
    ),
    st.sampled_from(["9" * 200, "9" * 200 + "_1", "x" * 200, "1 1", ".hidden", "a\\nb", "\x7f", " ", "CON", "\udcff1"]),
    st.integers(0, 4).map(lambda number: f"liver_GT_{number:03d}"),
    st.binary(min_size=1, max_size=40).map(os.fsdecode),
    st.text(min_size=1, max_size=20),
)


KINDS = st.sampled_from(["sound"] * 12 + ["empty", "folder", "fifo", "nowhere", "outside", "circle", "other", "inside"])


FILES = st.lists(st.tuples(NAMES, st.sampled_from([".dcm", ".DCM", ".png", "", ".dcm\n"]), KINDS), max_size=4)


PATIENTS = st.lists(st.tuples(NAMES, KINDS, KINDS, FILES, FILES), min_size=1, max_size=3)


def put(path: Path, kind: str, content: bytes, outside: Path) -> None:
    """Something of that kind at `path`, unless the system refuses the name."""
    try:
        if kind in ("sound", "other"):
            with path.open("xb") as file:  # not into a pipe that is there
                file.write(content if kind == "sound" else b"other")
        elif kind == "empty":
            path.touch()
        elif kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            targets = {"nowhere": "nothing", "outside": outside, "circle": path.name, "inside": path.parent}
            path.symlink_to(targets[kind])
    except (OSError, ValueError):
        pass


@fuzz(0.1)
@given(patients=PATIENTS, sounds=st.integers(0, 3))
def test_any_tree_is_indexed_or_refused(place: Path, patients: list, sounds: int) -> None:
    root, outside = place / "tree", place / "outside"
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(place / "store", ignore_errors=True)
    outside.mkdir(exist_ok=True)
    dicom, mask = dicom_files()[0], mask_files()[1]
    for number, (name, patient_kind, masks_kind, dicoms, masks) in enumerate(patients):
        ct = root / ("Train_Sets" if number % 2 == 0 else "Test_Sets") / "CT"
        ct.mkdir(parents=True, exist_ok=True)
        folder = ct / name.replace("/", "_")
        put(folder, "folder" if patient_kind == "sound" else patient_kind, b"", outside)
        put(folder / "DICOM_anon", "folder", b"", outside)
        put(folder / "Ground", "folder" if masks_kind == "sound" else masks_kind, b"", outside)
        for at in range(sounds):
            put(folder / "DICOM_anon" / f"i{at}.dcm", "sound", dicom, outside)
            put(folder / "Ground" / f"liver_GT_{at}.png", "sound", mask, outside)
        for kind, content, entries in (("DICOM_anon", dicom, dicoms), ("Ground", mask, masks)):
            for stem, suffix, what in entries:
                put(folder / kind / (stem.replace("/", "_") + suffix), what, content, outside / "x.dcm")
    try:
        with at_once():
            found = find_patients(root)
    except UserError as error:
        for line in str(error).splitlines():
            assert line.isprintable()
        return
    assert all(name.isprintable() and name == folder.patient for name, folder in found.items())
    for folder in found.values():
        with at_once():
            slices, faults = pair_slices(folder)
        assert bool(slices) != bool(faults)
        assert all(one_line(fault) for fault in faults)
        with at_once():
            volumes, by_patient = decode(place / "store", [folder])
        assert bool(volumes) != bool(by_patient)
        assert all(one_line(fault) for listed in by_patient.values() for fault in listed)


def faults_of(tree: Path, store: Path) -> list[str]:
    """What the index, or else the store, says of a tree."""
    with at_once():
        try:
            open_volumes(store, find_patients(tree).values())
        except UserError as error:
            lines = str(error).splitlines()
            assert all(line.isprintable() for line in lines)
            return lines[1:] if len(lines) > 1 else lines
    return []


def one_patient(tree: Path) -> tuple[Path, Path, Path]:
    """The folder of the only patient that is left in `tree`, a slice of it and a mask."""
    for other in "234":
        shutil.rmtree(tree / "Train_Sets" / "CT" / other)
    folder = tree / "Train_Sets" / "CT" / "1"
    return folder, sorted(folder.glob("DICOM_anon/*"))[2], sorted(folder.glob("Ground/*"))[2]


def moved(path: Path, place: Path) -> None:
    """Leave a link to `place`, where `path` is now."""
    shutil.move(path, place)
    path.symlink_to(place)


@pytest.mark.parametrize("which", [0, 1, 2, "Ground", "DICOM_anon", "Train_Sets"])
def test_links_that_leave_the_tree(tree: Path, tmp_path: Path, which: int | str) -> None:
    patient = one_patient(tree)
    place = (
        tree / "Train_Sets" if which == "Train_Sets" else patient[which] if which in (0, 1, 2) else patient[0] / which
    )
    moved(place, tmp_path / "elsewhere")
    (said,) = faults_of(tree, tmp_path / "store")
    assert str(tmp_path / "elsewhere") in said and "copy that into the tree" in said


def test_links_inside_the_tree_and_to_it_are_sound(tree: Path, tmp_path: Path) -> None:
    folder, dicom, mask = one_patient(tree)
    for place in (dicom, mask, folder / "Ground"):
        moved(place, tree / f"real_{place.name}")
    (tmp_path / "link").symlink_to(tree)
    assert faults_of(tmp_path / "link", tmp_path / "store") == []


def test_names_with_newlines(tree: Path, tmp_path: Path) -> None:
    folder, dicom, mask = one_patient(tree)
    dicom.rename(dicom.with_name("a\nb.dcm"))
    mask.rename(mask.with_name("\udcff\x1b[2J.png"))
    first, second = faults_of(tree, tmp_path / "store")
    assert r"expected names of printable characters, found 'a\nb.dcm'; rename it" in first
    assert r"'\udcff\x1b[2J.png'" in second
    folder.rename(folder.with_name("1\n2"))
    (said,) = faults_of(tree, tmp_path / "store")
    assert r"found '1\n2'" in said


def test_odd_names_that_do_no_harm(tree: Path, tmp_path: Path) -> None:
    folder, dicom, _ = one_patient(tree)
    (folder / "Ground" / "Thumbs\udcff.db").touch()
    dicom.rename(dicom.with_name("IMG-0001-00003².dcm"))  # a digit, but not a number
    assert faults_of(tree, tmp_path / "store") == []


@pytest.mark.parametrize("kind", ["fifo", "device", "huge"])
def test_what_is_no_file_is_not_opened(tree: Path, tmp_path: Path, kind: str) -> None:
    _, dicom, mask = one_patient(tree)
    for path, read in ((mask, read_mask), (dicom, read_slice)):
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 1 << 40)
        with at_once(), pytest.raises(UserError, match=r"expected (a file, found a folder, pipe|one slice of at most)"):
            read(path)
    faults = faults_of(tree, tmp_path / "store")
    assert faults and all(str(dicom) in fault or str(mask) in fault for fault in faults)
