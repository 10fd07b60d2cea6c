from pathlib import Path

import pytest

from chaos_seg.errors import UserError
from chaos_seg.inference.one_file import OneFile


def test_a_file_is_named_by_its_ending_and_a_folder_is_none(tmp_path: Path) -> None:
    file = OneFile.named(tmp_path / "liver.nii.gz", None)
    assert file is not None and file.format == "nifti" and file.place.parent == tmp_path
    chosen = OneFile.named(tmp_path / "liver.dcm", ["rtstruct"])
    assert chosen is not None and chosen.format == "rtstruct"
    assert OneFile.named(tmp_path / "liver", None) is None
    (tmp_path / "folder.nii.gz").mkdir()
    assert OneFile.named(tmp_path / "folder.nii.gz", None) is None


def test_a_file_that_is_there_or_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "liver.dcm").touch()
    with pytest.raises(UserError, match="expected a new file, found one"):
        OneFile.named(tmp_path / "liver.dcm", None)
    with pytest.raises(UserError, match=r"formats=png: expected one of nifti, probability for output="):
        OneFile.named(tmp_path / "a.nii.gz", ["png"])
