import json
from pathlib import Path

import pytest

from chaos_seg.data.appearance import TrainingRange
from chaos_seg.data.scans import FoundScan, LeftOut, Search
from chaos_seg.errors import UserError
from chaos_seg.inference.outputs import Outcome
from chaos_seg.inference.summaries import closing_words, write_summaries


def test_every_file_left_out_is_in_the_summary_and_a_lost_one_in_the_last_words(tmp_path: Path) -> None:
    empty = FoundScan("1", "1", str, (), "0 slices", lambda _: pytest.fail("it is not opened"))
    search = Search(
        [empty], [LeftOut(Path("a.txt"), "no CT", lost=False), LeftOut(Path("b.dcm"), "damaged", lost=True)]
    )
    write_summaries(search, [], [None], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [one["file"] for one in summary["left_out"]] == ["a.txt", "b.dcm"] and summary["files_left_out"] == 2
    assert summary["scans"] == [
        {"name": "1", "about": "0 slices", "status": "not chosen", "files": 0, "first_file": None}
    ]
    assert not (tmp_path / "summary.csv").exists()
    with pytest.raises(UserError, match="1 files or folders left out that may hold slices; see above"):
        closing_words(search, [], tmp_path)
    closing_words(Search([], search.left_out[:1]), [Outcome("x", None, {}, {})], tmp_path)


def test_a_scan_without_masks_is_named_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Not predicted: x; a format refused for: y"):
        closing_words(Search([], []), [Outcome("x", "why", {}, {}), Outcome("y", None, {"nifti": "why"}, {})], tmp_path)


def test_several_scans_stand_beside_the_training_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    training = TrainingRange(([1.0, 0.7, 0.7], [5.0, 0.8, 0.8]), ([-20.0, 50.0, 200.0], [0.0, 60.0, 250.0]))
    looks = [((1.0, 0.75, 0.75), (-10.0, 55.0, 230.0)), ((8.0, 0.9, 0.9), (-10.0, 110.0, 230.0))]
    outcomes = [
        Outcome(str(z), None, {}, {"appearance": {"spacing_mm": list(z), "body_hu": list(hu), "cold_share": 0.3}})
        for z, hu in looks
    ]
    with caplog.at_level("INFO"):
        write_summaries(Search([], []), [*outcomes, Outcome("failed", "why", {}, {})], [training, None], tmp_path)
    drift = {row["what"]: row for row in json.loads((tmp_path / "summary.json").read_text())["drift"]}
    z, x, middle = (
        drift[f"{what}"] for what in ("spacing along z, mm", "spacing along x, mm", "50 % of the body lies below, HU")
    )
    assert (z["training"], z["scans"], z["beyond"]) == ([1, 5], [1, 8], 1)
    assert x["beyond"] == 0 and (middle["scans"], middle["beyond"]) == ([55, 110], 1)
    assert "spacing along z, mm" in caplog.text and "these 2 scans" in caplog.text
