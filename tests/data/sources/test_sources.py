import shutil
from pathlib import Path

from chaos_seg.data.sources import labelled_patients
from chaos_seg.data.sources.chaos import chaos


def test_patients_of_a_split_that_are_not_there_or_have_no_masks_are_named(tree: Path) -> None:
    ct = tree / "Test_Sets" / "CT" / "5"
    shutil.copytree(tree / "Train_Sets" / "CT" / "1" / "DICOM_anon", ct / "DICOM_anon")
    source = chaos(tree)
    assert source.labelled == ["1", "2", "3", "4"] and list(source.patients) == ["1", "2", "3", "4", "5"]
    patients, faults = labelled_patients(source, ["3", "5", "1", "8", "9"])
    assert [patient.patient for patient in patients] == ["3", "1"]
    absent, unlabelled = map(str, faults)
    assert "the split names patients 8, 9, but the tree has 1, 2, 3, 4, 5" in absent
    assert unlabelled.startswith(f"{ct}") and "take patient 5 out of the split" in unlabelled
