from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.scan import Scan
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from chaos_seg.errors import UserError
from chaos_seg.inference import formats
from chaos_seg.inference.formats import expect_formats, writers_for


@pytest.fixture
def scan(phantom_root: Path, tmp_path: Path) -> Scan:
    (scan,) = open_volumes(tmp_path / "store", [find_patients(phantom_root)["1"]])
    return scan


def test_a_format_that_can_not_hold_a_mask_leaves_the_others(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(scan: Scan) -> formats.Writer:
        raise UserError("not this one")

    monkeypatch.setitem(formats.FORMATS._entries, "none", none)
    writers, refused = writers_for(scan, ["none", "png"])
    assert list(writers) == ["png"] and refused == {"none": "not this one"}


def test_png_is_written_of_what_is_no_dicom(scan: Scan, tmp_path: Path) -> None:
    writers, _ = writers_for(scan, ["png"])
    writers["png"].write([np.ones((32, 32), bool)] * 7, tmp_path)
    assert len(list((tmp_path / "png").iterdir())) == 7


def test_a_format_without_its_package_is_refused_before_anything_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    expect_formats(["png"])
    with pytest.raises(UserError, match=r"format.name=jpeg: expected one of"):
        expect_formats(["jpeg"])
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"formats: nifti needs nibabel; install it with pip install -e '.\[clinical\]'"
    ):
        expect_formats(["nifti"])
