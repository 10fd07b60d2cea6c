"""The audit as a user starts it."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_errors_are_told_and_end_the_command_with_1(
    finish: Callable[..., tuple[int, str, str]], tree: Path, tmp_path: Path
) -> None:
    (tree / "Train_Sets" / "CT" / "1" / "Ground" / "liver_GT_003.png").unlink()
    code, out, err = finish(["audit", f"data.root={tree}", "data.store=store", "hydra.run.dir=out"], tmp_path)
    assert code == 1 and "error    masks_unpaired, patient 1" in out
    assert "Traceback" not in out + err and (tmp_path / "out" / "audit.html").is_file()
