from pathlib import Path

import numpy as np
import pytest

from chaos_seg.evaluation.masks import LARGEST_BY
from chaos_seg.files import write_csv, write_json
from chaos_seg.inference.promise import held_out, told
from chaos_seg.run_folder import RunFolder


def run(path: Path, dice: dict[str, float], threshold: float = 100, largest_by: str = LARGEST_BY) -> Path:
    """A run that held out these patients; returns its checkpoint."""
    rows = [{"patient": p, "side": "test", "threshold": threshold, "guess": 0.9, "dice": d} for p, d in dice.items()]
    of_masks = [{**row, "masks": "as predicted", "largest_by": largest_by} for row in rows]
    of_largest = [{**row, "masks": "largest component", "guess": 0.95} for row in of_masks]
    write_csv(RunFolder(path).held_out, of_masks + of_largest)
    write_json(RunFolder(path).summary, {"checkpoint": "best.ckpt"})
    return path / "checkpoints" / "best.ckpt"


def test_the_patients_of_all_folds_are_taken_once_where_masks_were_made_alike(tmp_path: Path) -> None:
    folds = [run(tmp_path / "0", {"a": 0.8, "b": 0.9}), run(tmp_path / "1", {"b": 0.7, "c": float("nan")})]
    raw, largest = ({"largest_component": kept, "fill_holes": False} for kept in (False, True))
    expected = [[0.9, 0.8], [0.9, pytest.approx(0.8)]]
    assert np.array(held_out([*folds, folds[0]], 100, raw, [[0.0, 1.0]])).tolist() == expected
    assert [guess for guess, _ in held_out(folds, 100, largest, [[0, 1]])] == [0.95, 0.95]
    earlier = run(tmp_path / "earlier", {"a": 0.8}, largest_by="voxels")
    assert held_out([earlier], 100, largest, [[0, 1]]) == [] != held_out([earlier], 100, raw, [[0, 1]])
    assert held_out(folds, 127, raw, [[0, 1]]) == [] and held_out([tmp_path / "alone.ckpt"], 100, raw, [[0, 1]]) == []
    assert held_out([folds[0].with_name("last.ckpt")], 100, raw, [[0, 1]]) == []  # these are the best one's
    assert held_out(folds, 100, {**raw, "fill_holes": True}, [[0, 1]]) == []
    assert held_out(folds, 100, raw, [[0, 1], [5, 1]]) == held_out(folds, 100, raw, [[0, 0.9]]) == []


def test_the_words_say_of_which_scans_the_promise_is() -> None:
    pairs = [[0.9, 0.88], [0.9, 0.93], [0.9, 0.87], [0.9, 0.94]]
    found = told(0.92, pairs, alike=True)
    assert (found["low"], found["high"], found["level"], found["scans"]) == (pytest.approx(0.88), 0.96, 0.8, 4)
    assert found["words"] == (
        "Dice about 0.92, guessed without a true mask; 0.88 to 0.96 for 80 % of scans like the 4 held out, if it is "
        "of their scanners and phases"
    )
    assert told(0.92, pairs, alike=False)["words"].endswith("but it is unlike them: the interval does not hold here")
    few = told(0.92, pairs[:3], alike=True)
    assert few["words"].endswith("no interval: fewer than four scans were held out alike") and "low" not in few
    assert told(float("nan"), pairs, alike=True) == {}
