"""The table of commands."""

import sys
from pathlib import Path

import pytest

import chaos_seg.__main__ as door

PACKAGE = Path(door.__file__).parent


def test_each_door_is_in_the_table_and_thin() -> None:
    doors = {path.stem: path for path in PACKAGE.glob("*.py") if 'if __name__ == "__main__":' in path.read_text()}
    assert doors.keys() - {"__main__"} == door.COMMANDS.keys()
    assert max(len(path.read_text().splitlines()) for path in doors.values()) <= 75


def test_the_table_is_shown_and_an_unknown_command_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["chaos_seg", *given])
        door.main()
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown for name in door.COMMANDS) and len(shown.splitlines()) == 13
    monkeypatch.setattr(sys, "argv", ["chaos_seg", "trian"])
    with pytest.raises(SystemExit, match="chaos_seg trian: expected one of prepare, audit, train"):
        door.main()


def test_a_command_runs_as_its_own_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos_seg", "train", "--help"])
    with pytest.raises(SystemExit):
        door.main()
    assert capsys.readouterr().out.startswith("python -m chaos_seg.train KEY=VALUE ...")
