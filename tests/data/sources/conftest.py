from pathlib import Path

import pytest

from tests.data.sources.zips import make_zip, phantom_files


@pytest.fixture
def files(phantom_root: Path) -> dict[str, bytes]:
    return phantom_files(phantom_root)


@pytest.fixture
def phantom_zip(files: dict[str, bytes], tmp_path: Path) -> Path:
    return make_zip(tmp_path / "a.zip", files)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "r" / "chaos"
