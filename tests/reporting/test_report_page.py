from dataclasses import replace
from pathlib import Path

import pytest

from chaos_seg.reporting.report_page import common_facts, example, report, runs_table
from chaos_seg.reporting.runs import Run, read_runs


@pytest.fixture(scope="module")
def runs(pair: tuple[Path, Path]) -> list[Run]:
    return read_runs(pair)


def test_a_page_has_a_row_a_run_and_says_what_is_unfinished(runs: list[Run]) -> None:
    page, tables = report("a <study>", runs, ["late_seed1"])
    assert "a &lt;study&gt;" in page and "Not finished, and left out:</b> late_seed1" in page and "SYNTHETIC" in page
    assert [row[:3] for row in runs_table(runs).rows] == [["run", "dice", 0], ["other", "iou", 0]]
    assert len({table.name for table in tables}) == len(tables)
    assert common_facts(runs)["Audit of the data"].startswith("no error")


def test_runs_scored_by_an_earlier_rule_are_named(runs: list[Run]) -> None:
    earlier = {key: value for key, value in runs[1].summary.items() if key != "largest_by"}
    page, _ = report("study", [runs[0], replace(runs[1], summary=earlier)], [])
    assert "By an older rule in other: evaluate again." in page
    assert "older rule" not in report("study", runs, [])[0]


def test_what_differs_in_more_than_the_loss_is_called_a_model(runs: list[Run]) -> None:
    page, tables = report("study", runs, [])
    assert "under each loss: a point" in page and "under each model" not in page
    assert [table.columns[0].title for table in tables if table.name == "means_volume_dice"] == ["Loss"]
    wide = replace(runs[1], arm="dice, base=16")
    page, tables = report("study", [runs[0], wide], [])
    assert "under each model: a point" in page and "under each loss" not in page
    named = {table.name: {column.title for column in table.columns} for table in tables}
    for name in ("means_volume_dice", "metrics", "challenge", "thresholds", "runs"):
        assert "Model" in named[name] and "Loss" not in named[name], name
    assert any("pairs of models" in table.caption for table in tables)


def test_an_example_is_that_of_one_of_the_runs(runs: list[Run]) -> None:
    shown = [example(runs, kind) for kind in ("best", "worst")]
    scores = sorted(run.summary["slices"]["best"]["dice"] for run in runs)
    assert shown[0] is not None and shown[0]["dice"] == scores[-1] and shown[0]["picture"].startswith("data:image/png")
    assert shown[1] is not None and shown[1]["dice"] <= scores[0]
