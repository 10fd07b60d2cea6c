"""The door `share`: what it says, and what it refuses without a trace."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from chaos_seg import share as share_door


def test_the_door_writes_a_card_with_what_is_stated(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mine"
    given = [f"run={shared.parent / 'run'}", f"output={output}", "stated.developed_by=A. Author, B. (2026)"]
    monkeypatch.setattr(sys, "argv", ["share", *given])
    share_door.main()
    card = (output / "README.md").read_text()
    assert "- **Developed by:** A. Author, B. (2026)\n" in card and "- **Shared by:** Not stated.\n" in card
    assert yaml.safe_load(card.split("---")[1])["license"] == "unknown"
    assert f"{output}: 13 files as they were handed on; 65536 of 65536 pixels" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in output.rglob("*.*")}
    with pytest.raises(SystemExit, match=r"mine: expected nothing of this name, found something"):
        share_door.main()
    assert {path: path.read_bytes() for path in output.rglob("*.*")} == before


def test_an_unfinished_run_is_not_shared(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shared.parent / "run", tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    monkeypatch.setattr(sys, "argv", ["share", f"run={tmp_path / 'run'}", f"output={tmp_path / 'mine'}"])
    with pytest.raises(SystemExit, match=r"run: expected a finished run, found no summary.json"):
        share_door.main()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
