import json
from pathlib import Path

from chaos_seg.reporting.study_view import progress, study_table


def test_progress_and_table_are_read_from_the_run_folders(tmp_path: Path) -> None:
    def write(name: str, status: str, seconds: float | None, error: str | None = None) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(
            json.dumps({"status": status, "seconds": seconds, "error": error})
        )

    assert progress(tmp_path, 6) == "0 of 6 runs finished"
    for name, seconds in (("a", 100.0), ("b", 140.0)):
        write(name, "finished", seconds)
        averages = {"volume_dice": {"train": 0.9, "val": 0.81234, "test": None}}
        (tmp_path / name / "summary.json").write_text(json.dumps({"averages": averages}))
    write("c", "failed", 3.0, "UserError: no such thing\nmore")
    assert progress(tmp_path, 6) == "2 of 6 runs finished, about 8 min left"
    assert progress(tmp_path, 2) == "2 of 2 runs finished"
    lines = study_table(tmp_path).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["a", "finished"],
        ["b", "finished"],
        ["c", "failed"],
        ["Not", "finished:"],
    ]
    assert "val 0.812" in lines[0] and "test" not in lines[0] and lines[2].endswith("UserError: no such thing")
