import json
from pathlib import Path

import pytest

from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.splits import Split
from chaos_seg.errors import UserError
from chaos_seg.reporting.audit_report import audit_source


def test_an_audit_counts_errors_and_tells_who_was_not_decoded(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tree / "Train_Sets" / "CT" / "2" / "Ground" / "liver_GT_003.png").unlink()
    caplog.set_level("INFO")
    errors = audit_source(chaos(tree), tmp_path / "store", lambda: Split(("1",), ("3",), ("4",)), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert errors == written["counts"]["error"] == 1 and written["not_decoded"] == ["2"]
    assert (written["patients"], written["slices"], written["synthetic"]) == (4, 21, True)
    assert [row["patient"] for row in written["facts"]] == ["1", "3", "4"] == list(written["measures"])
    assert "Not decoded: 2" in caplog.text and "masks_unpaired, patient 2" in caplog.text
    assert "SYNTHETIC" in (tmp_path / "out" / "audit.html").read_text()


def test_a_split_that_does_not_fit_the_tree_is_no_fault_of_the_data(
    phantom_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def divide() -> Split:
        raise UserError("patient 9 is not there")

    caplog.set_level("INFO")
    assert audit_source(chaos(phantom_root), tmp_path / "store", divide, tmp_path / "out") == 0
    assert "Patients are not looked up in the split: patient 9 is not there" in caplog.text
