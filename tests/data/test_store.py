import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from chaos_seg.data import decoded as decoded_module
from chaos_seg.data import store as store_module
from chaos_seg.data.decoded import Meta
from chaos_seg.data.sources.chaos import PatientFolder, chaos, find_patients
from chaos_seg.data.store import StoredScan, data_hash, open_patients, open_volumes
from chaos_seg.errors import UserError


def volumes(root: Path, store: Path) -> dict[str, StoredScan]:
    return {volume.name: volume for volume in open_volumes(store, find_patients(root).values())}


def patient_files(tree: Path, patient: str, kind: str) -> list[Path]:
    return sorted((tree / "Train_Sets" / "CT" / patient / kind).iterdir())


def metas(scans: dict[str, StoredScan]) -> dict[str, Meta]:
    return {patient: scan.meta for patient, scan in scans.items()}


def edit(path: Path, **tags: object) -> None:
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


def test_second_opening_reads_no_file(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = volumes(phantom_root, tmp_path)
    monkeypatch.setattr(PatientFolder, "slices", lambda folder: pytest.fail("indexed again"))
    assert metas(volumes(phantom_root, tmp_path)) == metas(first)


def test_copy_of_a_tree_shares_volumes_and_fingerprint(phantom_root: Path, tree: Path, tmp_path: Path) -> None:
    first, second = volumes(phantom_root, tmp_path / "s"), volumes(tree, tmp_path / "s")
    assert metas(first) == metas(second) and data_hash(first.values()) == data_hash(reversed(second.values()))
    assert len([p for p in (tmp_path / "s" / "volumes").iterdir() if p.is_dir()]) == 4


def test_changed_pixel_makes_another_volume(tree: Path, tmp_path: Path) -> None:
    before = volumes(tree, tmp_path / "s")
    path = patient_files(tree, "2", "DICOM_anon")[3]
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same modification time
    after = volumes(tree, tmp_path / "s")
    assert after["2"].meta.key != before["2"].meta.key and after["1"].meta == before["1"].meta
    assert data_hash(after.values()) != data_hash(before.values())
    assert np.count_nonzero(after["2"].hu(3) != before["2"].hu(3)) == 1


def test_a_changed_mask_or_hu_range_makes_another_volume(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = volumes(tree, tmp_path / "s")
    mask = patient_files(tree, "2", "Ground")[3]
    Image.fromarray(np.asarray(Image.open(mask))[::-1]).save(mask)
    after = volumes(tree, tmp_path / "s")
    assert after["2"].meta.key != before["2"].meta.key and after["1"].meta == before["1"].meta
    assert np.array_equal(after["2"].mask(3), before["2"].mask(3)[::-1])
    for module in (decoded_module, store_module):
        monkeypatch.setattr(module, "HU_RANGE", (-1024, 3071))
    assert volumes(tree, tmp_path / "s")["1"].meta.key != before["1"].meta.key


def test_exchanged_patients_have_another_fingerprint(phantom_root: Path, tmp_path: Path) -> None:
    first, second, *_ = volumes(phantom_root, tmp_path).values()
    exchanged = replace(first, name=second.name), replace(second, name=first.name)
    assert data_hash(exchanged) != data_hash((first, second))


def test_a_volume_that_ends_early_is_an_error_and_no_slice(phantom_root: Path, tmp_path: Path) -> None:
    volume = volumes(phantom_root, tmp_path)["1"]
    os.truncate(volume.folder / "hu.npy", (volume.folder / "hu.npy").stat().st_size - 2)
    assert volume.hu(5).shape == (32, 32)
    with pytest.raises(OSError, match="ends early; remove it and it is decoded again"):
        volume.hu(6)


def test_all_faults_are_listed_at_once(tree: Path, tmp_path: Path) -> None:
    patient_files(tree, "1", "Ground")[2].unlink()
    patient_files(tree, "2", "DICOM_anon")[1].write_text("broken")
    Image.fromarray(np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)).save(patient_files(tree, "2", "Ground")[4])
    edit(patient_files(tree, "3", "DICOM_anon")[5], Modality="MR")
    Image.fromarray(np.zeros((16, 32), bool)).save(patient_files(tree, "4", "Ground")[0])
    with pytest.raises(UserError) as error:
        volumes(tree, tmp_path / "s")
    text = str(error.value)
    assert text.startswith("5 faults") and len(text.splitlines()) == 6
    for said in ("without number 2", "expected a DICOM file", "found 256 values", "found MR", "found 16 x 32"):
        assert said in text
    assert list((tmp_path / "s" / "volumes").glob("*")) == []


def test_unreadable_files_are_faults_like_others(tree: Path, tmp_path: Path) -> None:
    dicom, mask = patient_files(tree, "1", "DICOM_anon")[2], patient_files(tree, "2", "Ground")[1]
    dicom.unlink()
    dicom.symlink_to(tree / "nowhere")
    mask.unlink()
    mask.mkdir()
    with pytest.raises(UserError) as error:
        volumes(tree, tmp_path / "s")
    assert "2 faults" in str(error.value)
    assert f"{dicom}: expected a file, but No such file" in str(error.value)
    assert f"{mask}: expected a file, found a folder, pipe or device" in str(error.value)


def test_absent_patients_are_listed_with_the_other_faults(tree: Path, tmp_path: Path) -> None:
    patient_files(tree, "1", "Ground")[2].unlink()
    shutil.rmtree(tree / "Train_Sets" / "CT" / "3" / "Ground")
    with pytest.raises(UserError) as error:
        open_patients(tmp_path / "s", chaos(tree), ["1", "2", "3", "77"])
    text = str(error.value)
    assert text.startswith("3 faults") and "patient 77" in text and "Ground beside it" in text and "number 2" in text


def test_full_disk_leaves_nothing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        volumes(tree, tmp_path / "s")
    assert "npy" in str(error.value.filename)
    assert list((tmp_path / "s" / "volumes").iterdir()) == []


def test_leftovers_of_a_killed_build_do_no_harm(phantom_root: Path, tmp_path: Path) -> None:
    sound = volumes(phantom_root, tmp_path / "a")
    for volume in sound.values():
        partial = tmp_path / "b" / "volumes" / f".{volume.meta.key}.partial"
        partial.mkdir(parents=True)
        (partial / "hu.npy").write_bytes(b"half")
    again = volumes(phantom_root, tmp_path / "b")
    assert all(np.array_equal(again[p].hu(2), sound[p].hu(2)) for p in sound)
    shutil.rmtree(tmp_path / "b" / "volumes")  # the notes of what was seen outlive the volumes
    assert volumes(phantom_root, tmp_path / "b").keys() == sound.keys()


BUILD = """
import sys
from pathlib import Path
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import data_hash, open_volumes
print(data_hash(open_volumes(Path(sys.argv[2]), find_patients(Path(sys.argv[1])).values())))
"""


def same_slices(a: dict[str, StoredScan], b: dict[str, StoredScan]) -> bool:
    pairs = [(a[patient], b[patient], rank) for patient in a for rank in range(a[patient].slices)]
    return a.keys() == b.keys() and all(
        np.array_equal(x.hu(k), y.hu(k)) and np.array_equal(x.mask(k), y.mask(k)) for x, y, k in pairs
    )


def test_processes_that_build_at_once_get_the_same(phantom_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(phantom_root), str(tmp_path / "s")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    sound = volumes(phantom_root, tmp_path / "t")
    assert answers == {data_hash(sound.values()) + "\n"} and [p.returncode for p in processes] == [0, 0, 0]
    assert same_slices(volumes(phantom_root, tmp_path / "s"), sound)


def test_killed_at_any_write_the_next_build_is_sound(phantom_root: Path, tmp_path: Path) -> None:
    """SIGKILL instead of each rename and each flush of a build in turn."""
    folder = find_patients(phantom_root)["1"]
    sound = open_volumes(tmp_path / "sound", [folder])[0]
    moments = [(name, k) for name, times in (("replace", 5), ("rename", 1), ("fsync", 5)) for k in range(times)]
    for number, (name, last) in enumerate(moments):
        store = tmp_path / str(number)
        child = os.fork()
        if child == 0:
            owner = os if name == "fsync" else Path
            real, calls = getattr(owner, name), []

            def deadly(*args: object, real: Any = real, calls: Any = calls, last: int = last) -> object:
                calls.append(1)
                if len(calls) > last:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args)

            setattr(owner, name, deadly)
            open_volumes(store, [folder])
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, (name, last)
        again = open_volumes(store, [folder])[0]
        assert again.meta == sound.meta and same_slices({"1": again}, {"1": sound}), (name, last)


@pytest.mark.parametrize("name", ["meta.json", "slices.json", "hu.npy", "mask.npy"])
def test_damaged_volume_is_decoded_again(phantom_root: Path, tmp_path: Path, name: str) -> None:
    folders = [find_patients(phantom_root)["1"]]
    sound = open_volumes(tmp_path, folders)[0]
    headers, hu, mask = sound.headers(), sound.hu(3), sound.mask(3)
    os.truncate(sound.folder / name, 0)
    again = open_volumes(tmp_path, folders)[0]
    assert (
        again.meta == sound.meta
        and again.headers() == headers
        and np.array_equal(again.hu(3), hu)
        and np.array_equal(again.mask(3), mask)
    )


def test_data_root_may_be_read_only(tree: Path, tmp_path: Path) -> None:
    before = sorted(p for p in tree.rglob("*"))
    volumes(tree, tmp_path / "s")
    assert sorted(p for p in tree.rglob("*")) == before


def test_real_set_3(real_root: Path, tmp_path: Path) -> None:
    volume = open_volumes(tmp_path, [find_patients(real_root)["3"]])[0]
    assert volume.meta.shape == (78, 512, 512) and not volume.meta.synthetic
    assert volume.meta.spacing_mm == pytest.approx((2.0, 0.7265625, 0.7265625))
    assert volume.meta.slice_thickness_mm == 3.2
    assert volume.meta.liver_pixels is not None and np.count_nonzero(volume.meta.liver_pixels) == 71
    millilitres = sum(volume.meta.liver_pixels) * np.prod(volume.meta.spacing_mm) / 1000
    assert millilitres == pytest.approx(1417, abs=0.5)
    under = np.concatenate([volume.hu(k)[volume.mask(k) > 0] for k in range(78)])
    assert (round(under.mean()), round(under.std())) == (141, 34)  # 36 +- 248 with the masks reversed
