"""A run scored again, as a user starts it; each test runs whole processes, from a folder that is not the repository."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps

Finish = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_a_finished_run_is_scored_again_elsewhere(
    command: Callable[..., list[str]], finish: Finish, finished: Path, phantom_root: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    table = (run / "per_patient.csv").read_bytes()
    score = ["evaluate", "device=cpu"]
    code, out, err = finish([*score, f"run={run}"], tmp_path)
    assert code == 0 and "Patient id" in out + err and (run / "per_patient.csv").read_bytes() == table
    code, out, err = finish([*score, f"run={run}", "threshold=250", "output=strict", "checkpoint=last"], tmp_path)
    summary = json.loads((tmp_path / "strict" / "summary.json").read_text())
    assert code == 0 and (summary["threshold"], summary["epoch"]) == (250, 1)
    assert (run / "per_patient.csv").read_bytes() == table
    code, out, err = finish([*score, f"run={run}", "threshold=250"], tmp_path)
    assert code == 1 and "for the scores of threshold=250.0 with output=FOLDER" in err
    for there in (run, tmp_path / "strict"):  # its own scores, or others
        code, out, err = finish([*score, f"run={run}", "threshold=250", f"output={there}"], tmp_path)
        assert code == 1 and f"{there}: expected a new folder, found something in it" in err
    assert (run / "per_patient.csv").read_bytes() == table
    tree = shutil.copytree(phantom_root, tmp_path / "tree")
    for path in (tree / "Train_Sets" / "CT" / "4" / "Ground").iterdir():
        ImageOps.mirror(Image.open(path)).save(path)
    code, out, err = finish([*score, f"run={run}", f"root={tree}", "store=store", "output=mirrored"], tmp_path)
    assert code == 0 and "Audit error mask_mirrored, patient 4: " in out + err
    code, out, err = finish(command(f"hydra.run.dir={run}", "epochs=5"), tmp_path)  # the folder is in use
    assert code == 1 and "resume it with resume=" in err
    assert not (run / ".hydra").exists()
    code, out, err = finish([*score, f"run={phantom_root}"], tmp_path)
    assert code == 1 and f"{phantom_root}: expected the folder of a run" in err and "Traceback" not in err
