from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest


@pytest.fixture
def change() -> Callable[..., None]:
    return _change


def _change(paths: list[Path], **tags: Any) -> None:
    """Set attributes of files that are there; a callable is asked for each one's."""
    for rank, path in enumerate(paths):
        ds = pydicom.dcmread(path)
        for keyword, value in tags.items():
            given = value(rank) if callable(value) else value
            if keyword.startswith("Media"):
                setattr(ds.file_meta, keyword, given)
            else:
                setattr(ds, keyword, given)
        ds.save_as(path)
