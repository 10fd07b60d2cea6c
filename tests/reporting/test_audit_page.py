import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.audit import drift
from chaos_seg.data.measures import Measures
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from chaos_seg.reporting.audit_page import patient_figure
from chaos_seg.reporting.page import embedded


@pytest.mark.parametrize("slices", [1, 7])
@pytest.mark.parametrize("masks", [True, False])
def test_a_patient_of_whom_there_is_nothing_to_see_has_its_pictures(
    phantom_root: Path, tmp_path: Path, slices: int, masks: bool
) -> None:
    """A volume of air."""
    (volume,) = open_volumes(tmp_path, [find_patients(phantom_root)["1"]])
    shape, liver = (slices, *volume.shape[1:]), [0] * slices if masks else None
    volume = replace(
        volume,
        shape=shape,
        read=lambda rank: np.full(shape[1:], -1000, np.int16),
        read_mask=(lambda rank: np.zeros(shape[1:], np.uint8)) if masks else None,
        meta=replace(volume.meta, shape=shape, z_mm=volume.meta.z_mm[:slices], liver_pixels=liver),
    )
    nothing = Measures(6, [""] * slices, [0.0] * slices, 0.0, 0.0, None, None, None, None, [0] * 60, [0] * 60, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert embedded(patient_figure(volume, nothing))


def test_a_side_that_lies_beyond_the_training_patients_is_named() -> None:
    plain = {"z_step_mm": 3.0, "field_of_view_mm": 380.0, "noise_hu": 20.0, "aorta_hu": None, "liver_ml": 1500.0}
    hu = {"a": 100.0, "b": 120.0, "c": 110.0, "d": 60.0, "e": 10.0}
    rows = [{**plain, "patient": patient, "liver_hu_mean": mean} for patient, mean in hu.items()]
    rows.append({**plain, "patient": "f", "liver_hu_mean": None})
    sides = {"a": "train", "b": "train", "c": "val", "d": "test", "f": "test"}  # e is of no side
    found = {row["what"]: row for row in drift(rows, sides)}
    means = found["HU under the mask, mean"]
    assert means["ranges"] == {"train": (100, 120), "val": (110, 110), "test": (60, 60)} and means["apart"] == ["test"]
    assert found["z step, mm"]["apart"] == [] and drift(rows, {}) == []
