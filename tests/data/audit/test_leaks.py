import shutil
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from tests.data.audit.faults import edit, files, findings_of


def test_one_person_in_two_folders(tree: Path, tmp_path: Path) -> None:
    ct = tree / "Train_Sets" / "CT"
    shutil.copytree(ct / "1", ct / "3")
    edit(files(tree, "2")[0], StudyInstanceUID=pydicom.dcmread(files(tree)[0][0]).StudyInstanceUID)
    together = findings_of(tree, tmp_path, {"1": "train", "2": "train", "3": "train"})
    assert {(f.level, f.code, f.patient) for f in together if f.level != "note"} == {
        ("error", "same_pixels", "1, 3"),
        ("warning", "same_person", "1, 2"),
        ("warning", "same_person", "2, 3"),
    }
    apart = findings_of(tree, tmp_path, {"1": "train", "2": "val", "3": "test"})
    assert {(f.level, f.code, f.patient) for f in apart if f.level != "note"} == {
        ("error", "leak", "1, 3"),
        ("error", "leak", "1, 2"),
        ("error", "leak", "2, 3"),
    }
    assert any(
        "24 slices of patient 1 have the pixels of patient 3, one in train, the other in test" in f.text for f in apart
    )


def test_rounded_locations_and_a_common_pseudonym_accuse_nobody(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "Train_Sets" / "CT" / "2", tree / "Train_Sets" / "CT" / "3")
    for patient in "123":
        dicoms, _ = files(tree, patient)
        for k, path in enumerate(dicoms):
            position = [-185, -185, round(-9.6 * k, 1)]
            edit([path], SliceLocation=round(9.6 * k), ImagePositionPatient=position, PatientID="ANON")
            edit([path], SpacingBetweenSlices=-9.6)
    edit(files(tree, "3")[0], StudyInstanceUID=generate_uid())
    for path in files(tree, "3")[0]:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = np.clip(dataset.pixel_array + 1, 0, 65535).astype(np.uint16).tobytes()
        dataset.save_as(path)
    found = findings_of(tree, tmp_path, {"1": "train", "2": "val", "3": "test"})
    assert {f.code for f in found if f.level != "note"} == {"identity"}
    edit(files(tree, "3")[0], PatientID="ANOTHER")
    edit(files(tree, "1")[0], PatientName="SMITH^JOHN^^^2")
    found = findings_of(tree, tmp_path, {"1": "train", "2": "val", "3": "test"})
    (leak,) = (f for f in found if f.level == "error")
    assert (leak.code, leak.patient) == ("leak", "1, 2") and "the same PatientID, one in train" in leak.text
    assert any("PatientID, PatientName;" in f.text for f in found if f.patient == "1")
