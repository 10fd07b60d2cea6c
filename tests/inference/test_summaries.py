import json
from pathlib import Path

import pytest

from chaos_seg.data.scans import LeftOut, Search
from chaos_seg.errors import UserError
from chaos_seg.inference.outputs import Outcome
from chaos_seg.inference.summaries import closing_words, write_summaries


def test_every_file_left_out_is_in_the_summary_and_a_lost_one_in_the_last_words(tmp_path: Path) -> None:
    search = Search([], [LeftOut(Path("a.txt"), "no CT", lost=False), LeftOut(Path("b.dcm"), "damaged", lost=True)])
    write_summaries(search, [], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [one["file"] for one in summary["left_out"]] == ["a.txt", "b.dcm"] and summary["files_left_out"] == 2
    assert not (tmp_path / "summary.csv").exists()
    with pytest.raises(UserError, match="1 files or folders left out that may hold slices; see above"):
        closing_words(search, [], tmp_path)
    closing_words(Search([], search.left_out[:1]), [Outcome("x", None, {}, {})], tmp_path)


def test_a_scan_without_masks_is_named_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Not predicted: x; a format refused for: y"):
        closing_words(Search([], []), [Outcome("x", "why", {}, {}), Outcome("y", None, {"nifti": "why"}, {})], tmp_path)
