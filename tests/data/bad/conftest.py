from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.bad.files import bomb_chunks, dicom_files, mask_files
from tests.data.bad.limits import MAX_MIB, SLOWEST, forget_peak, peak_mib


@pytest.fixture(autouse=True)
def little_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test whose readers made the process grow by more than MAX_MIB at any moment."""
    dicom_files(), mask_files(), bomb_chunks()  # made once, and not what is measured
    forget_peak()
    before = peak_mib()
    SLOWEST[:] = [0.0]
    yield
    grown = peak_mib() - before
    print(f"\n{request.node.name}: slowest input {SLOWEST[0] * 1000:.0f} ms, grew by {grown:.0f} MiB")
    assert grown < MAX_MIB


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")
