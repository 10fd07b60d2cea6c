"""The report of a study, from copies of run folders alone."""

import re
import shutil
from pathlib import Path

import pytest

from chaos_seg.errors import UserError
from chaos_seg.files import read_csv, read_json, write_json
from chaos_seg.report import write_report


def test_a_report_is_one_page_of_what_the_runs_say(pair: tuple[Path, Path], tmp_path: Path) -> None:
    study = tmp_path / "outputs" / "study"
    for run, name in zip(pair, ("dice_seed0", "iou_seed0"), strict=True):
        shutil.copytree(run, study / name)
    write_report(study, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    write_report(study, study / "report")  # elsewhere, again: nothing in it but what the runs say
    assert (study / "report" / "report.html").read_text() == page
    assert "SYNTHETIC" in page and "Not finished" not in page and page.count("data:image/png") == 2 * 3
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page) and "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert str(tmp_path / "outputs") not in page and str(pair[0]) not in page  # no path but that of the data
    rows = read_csv(study / "report" / "tables" / "patients_test.csv")
    test = read_json(study / "dice_seed0" / "summary.json")["averages"]["volume_dice"]["test"]
    assert rows[0]["Patient id"] == "dice, Volume Dice" and float(rows[0]["Average"] or "nan") == pytest.approx(
        test, nan_ok=True
    )
    manifest = study / "iou_seed0" / "manifest.json"
    write_json(manifest, {**read_json(manifest), "status": "running"})
    write_report(study, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Not finished, and left out:</b> iou_seed0" in page and "One loss alone" in page


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no finished run"):
        write_report(tmp_path, tmp_path / "none")
    assert not (tmp_path / "none").exists()
