import shutil
from pathlib import Path

import pytest

from chaos_seg.compare import compare
from chaos_seg.errors import UserError
from chaos_seg.files import read_json, write_json


def test_runs_are_compared_and_what_is_no_run_is_left_out_or_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(run, tmp_path / name)) for run, name in zip(pair, ("0_dice", "1_iou"), strict=True)]
    (tmp_path / "multirun.yaml").touch()
    table = compare([*runs, tmp_path / "multirun.yaml"])  # as sweep/* has it
    assert "SYNTHETIC" in table and "dice - iou" in table and "1 patient can not show a difference" in table
    (tmp_path / "2_dice").mkdir()
    write_json(tmp_path / "2_dice" / "manifest.json", {"status": "failed"})
    with pytest.raises(UserError, match=r"2_dice: expected a finished run, found no summary.json"):
        compare([*runs, tmp_path / "2_dice"])
    write_json(runs[1] / "summary.json", {**read_json(runs[1] / "summary.json"), "data_fingerprint": "other"})
    with pytest.raises(UserError, match="expected runs on the same data"):
        compare(runs)
