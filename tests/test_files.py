import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chaos_seg.data.measures import measured
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from chaos_seg.files import read_json, write_json
from chaos_seg.reporting.study_view import study_table


def strict(path: Path) -> Any:
    """As a parser reads it that knows JSON alone."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    value = {"a": math.nan, "b": [1.5, -math.inf, (np.float64("nan"), np.float64(2))], "c": {"d": math.inf}, "e": "NaN"}
    write_json(tmp_path / "a.json", value)
    assert strict(tmp_path / "a.json") == {"a": None, "b": [1.5, None, [None, 2]], "c": {"d": None}, "e": "NaN"}
    assert math.isnan(value["a"]) and (tmp_path / "a.json").read_text().startswith('{\n  "a": null,')  # type: ignore[arg-type]


def test_readers_take_null_for_what_has_no_value(phantom_root: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_json(tmp_path / "run" / "manifest.json", {"status": "finished", "seconds": 3.0, "error": None})
    write_json(
        tmp_path / "run" / "summary.json", {"averages": {"volume_dice": {"train": math.nan, "val": 0.5, "test": None}}}
    )
    assert study_table(tmp_path).endswith("val 0.500")

    (volume,) = open_volumes(tmp_path / "store", [find_patients(phantom_root)["1"]])
    before = measured(volume)
    kept = read_json(volume.folder / "audit.json")
    kept["alignment"]["misfits"] = [{"first": 1, "last": 2, "how": "nowhere", "shift": 0, "gain": math.nan}]
    write_json(volume.folder / "audit.json", kept)
    (misfit,) = measured(volume).alignment.misfits  # type: ignore[union-attr]
    assert math.isnan(misfit.gain) and measured(volume).pixels == before.pixels


@pytest.mark.parametrize("value", [{1, 2}, object()])
def test_what_json_does_not_know_is_refused_and_leaves_no_file(value: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"value": value})
    assert not list(tmp_path.iterdir())
