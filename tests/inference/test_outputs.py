from pathlib import Path

import pytest

from chaos_seg.errors import UserError
from chaos_seg.inference.outputs import held


def test_an_output_folder_in_use_is_refused(tmp_path: Path) -> None:
    with held(tmp_path / "out"), pytest.raises(UserError, match="another process is writing"), held(tmp_path / "out"):
        pass
    with held(tmp_path / "out"):  # free again
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="expected a folder, found a file"), held(tmp_path / "file"):
        pass
