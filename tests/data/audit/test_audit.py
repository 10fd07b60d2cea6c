"""Each finding on a phantom with that one fault, and nothing on sound data."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.audit import audit, refuse_errors
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import StoredScan, decode
from chaos_seg.errors import UserError
from tests.data.audit.faults import (
    Fault,
    Files,
    Named,
    cases,
    edit,
    files,
    findings_of,
    masks_reversed,
    read,
    slices_swapped,
    write,
)


def test_a_sound_phantom_has_no_error_and_no_warning(sound: Path, tmp_path: Path) -> None:
    findings = findings_of(sound, tmp_path)
    assert [f for f in findings if f.level != "note"] == []
    assert {(f.code, f.patient) for f in findings} == {
        ("thickness_is_not_spacing", "1"),
        ("thickness_is_not_spacing", "2"),
        ("hu_outliers", "1"),
    }
    note = next(f for f in findings if f.code == "thickness_is_not_spacing")
    assert "slices lie 10.00 mm apart and are 16.00 mm thick" in note.text


def mask_lost(dicoms: Files, masks: Files) -> None:
    masks[7].unlink()


def mask_smoothed(dicoms: Files, masks: Files) -> None:
    write([masks[12]], [read([masks[12]])[0].astype(np.uint8) * np.arange(128, dtype=np.uint8) * 2])


def sizes_mixed(dicoms: Files, masks: Files) -> None:
    edit([dicoms[3]], Rows=64, PixelData=bytes(64 * 128 * 2))


def mr_by_name(dicoms: Files, masks: Files) -> None:
    edit(dicoms, Modality="MR")


def unreadable(dicoms: Files, masks: Files) -> None:
    dicoms[0].write_bytes(dicoms[0].read_bytes()[:2000])


@cases(
    (mask_lost, {"masks_unpaired"}, "without number 7"),
    (mask_smoothed, {"mask_not_binary"}, "expected a mask of 0 and one other value"),
    (sizes_mixed, {"mixed_sizes"}, "expected 128 x 128 pixels"),
    (mr_by_name, {"not_ct"}, "found MR"),
)
def test_every_fault_is_named(named: Named, fault: Fault, codes: set[str], said: str) -> None:
    named(fault, codes, said)


def test_an_unreadable_file_is_named(named: Named, tree: Path) -> None:
    named(unreadable, {"unreadable_file"}, files(tree)[0][0].name)


def test_errors_stop_training_unless_told_otherwise(tree: Path, tmp_path: Path) -> None:
    masks_reversed(*files(tree))
    volumes, _ = decode(tmp_path, find_patients(tree).values())
    with pytest.raises(UserError, match=r"(?s)found 1 error in the data.*data.audit=off.*masks_reversed, patient 1"):
        refuse_errors(volumes, {})
    assert refuse_errors(volumes[1:], {}) == {"note": 1}


def test_second_audit_reads_no_pixel(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes, _ = decode(tmp_path, find_patients(sound).values())
    first = audit(volumes, {})
    for kind in ("hu", "mask"):
        monkeypatch.setattr(StoredScan, kind, lambda *a: pytest.fail("read a slice"))
    assert audit(volumes, {}) == first
    (volumes[0].folder / "audit.json").write_text("{")  # damaged: measured again
    monkeypatch.undo()
    assert audit(volumes, {}) == first


def test_test_set_without_masks_is_audited_too(tree: Path, tmp_path: Path) -> None:
    (tree / "Test_Sets" / "CT").mkdir(parents=True)
    shutil.move(tree / "Train_Sets" / "CT" / "1", tree / "Test_Sets" / "CT" / "1")
    shutil.rmtree(tree / "Test_Sets" / "CT" / "1" / "Ground")
    assert [f for f in findings_of(tree, tmp_path / "s") if f.level != "note"] == []
    slices_swapped(*[sorted((tree / "Test_Sets" / "CT" / "1" / "DICOM_anon").iterdir())] * 2)
    assert {f.code for f in findings_of(tree, tmp_path / "s") if f.level == "error"} == {"slice_out_of_order"}
