import shutil
import sys
from pathlib import Path

import pytest

from chaos_seg import export as command


def test_the_command(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    (tmp_path / "run").mkdir()
    checkpoint = Path(shutil.copy(finished / "checkpoints" / "best.ckpt", tmp_path / "run"))

    def call(*given: object) -> None:
        monkeypatch.setattr(sys, "argv", ["export", *map(str, given)])
        command.main()

    call(checkpoint)
    assert capsys.readouterr().out == f"Model: {checkpoint.with_suffix('.onnx')}\n"
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["best.ckpt", "best.onnx"]
    call(checkpoint, "--output", tmp_path / "elsewhere" / "liver.onnx")
    assert (tmp_path / "elsewhere" / "liver.onnx").read_bytes() == checkpoint.with_suffix(".onnx").read_bytes()
    for place in (".", tmp_path / "none.ckpt"):
        with pytest.raises(SystemExit, match="expected a checkpoint, found no such file"):
            call(place)
