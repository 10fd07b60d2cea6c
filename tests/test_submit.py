"""Masks for the challenge's test patients, from the command to the zip."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chaos_seg.evaluation.masks import largest_component
from chaos_seg.inference.submission import EXPECTED, results_folder


def read_back(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


@pytest.mark.slow
def test_a_submission_from_the_command_to_the_zip(
    finished: Path,
    finish: Callable[..., tuple[int, str, str]],
    phantom_root: Path,
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    source = sorted((phantom_root / "Train_Sets" / "CT").iterdir())
    for k, patient in enumerate(EXPECTED):  # as in the challenge, without masks
        place = tree / "Test_Sets" / "CT" / patient / "DICOM_anon"
        shutil.copytree(source[k % len(source)] / "DICOM_anon", place)

    def submit(*overrides: str) -> tuple[int, str]:
        command = ["submit", f"run={finished}", f"root={tree}", "device=cpu", *overrides]
        code, out, err = finish(command, tmp_path)
        return code, out + err

    code, said = submit("output=whole", "largest_component=true")
    assert code == 0 and "Submission: whole.zip" in said, said
    with zipfile.ZipFile(tmp_path / "whole.zip") as packed:
        names = packed.namelist()
    assert sorted(names) == sorted(
        f"Task2/CT/{patient}/Results/img{rank:03d}.png" for patient in EXPECTED for rank in range(7)
    )
    found = read_back(results_folder(tmp_path / "whole", "3")) > 0
    assert np.array_equal([*largest_component(found, (9, 9))], found)

    code, said = submit("output=whole")
    assert code == 1 and "whole.zip: expected a new file" in said
    (tmp_path / "whole.zip").unlink()
    code, said = submit("output=whole")
    assert code == 1 and "expected a new folder" in said
    shutil.rmtree(tree / "Test_Sets" / "CT" / "40")
    code, said = submit("output=lacking")
    assert code == 1 and "1 of the challenge's 20 patients are missing: 40" in said and "Traceback" not in said
    assert not (tmp_path / "lacking.zip").exists() and len(read_back(results_folder(tmp_path / "lacking", "39"))) == 7
    code, said = submit("output=x", "root=" + str(phantom_root))
    assert code == 1 and "expected Test_Sets/CT/<id>/DICOM_anon below it, found none" in said
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
