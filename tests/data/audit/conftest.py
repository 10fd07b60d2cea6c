import shutil
from pathlib import Path

import pytest

from chaos_seg.data.sources.phantom import Phantom, write_phantom
from tests.data.audit.faults import Fault, N, Named, files, findings_of


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients of 24 slices, large enough for every rule; not to be changed."""
    return write_phantom(tmp_path_factory.mktemp("audit"), Phantom(patients=2, slices=N, size=128, seed=1))


@pytest.fixture
def tree(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "tree"))


@pytest.fixture
def named(tree: Path, tmp_path: Path) -> Named:
    """Fails unless the audit says this, and nothing else, of patient 1 with that fault."""

    def named(fault: Fault, codes: set[str], said: str) -> None:
        fault(*files(tree))
        findings = [finding for finding in findings_of(tree, tmp_path / "store") if finding.level != "note"]
        assert {finding.code for finding in findings} == codes
        assert {finding.patient for finding in findings} == {"1"}
        assert any(said in finding.text for finding in findings), findings

    return named
