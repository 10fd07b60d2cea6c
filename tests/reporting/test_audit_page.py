import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

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
    nothing = Measures(4, [""] * slices, [0.0] * slices, 0.0, 0.0, None, None, [0] * 60, [0] * 60, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert embedded(patient_figure(volume, nothing))
