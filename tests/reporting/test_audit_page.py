import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.data.measures import Measures
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import Meta, Volume, open_volumes
from chaos_seg.reporting.audit_page import patient_figure
from chaos_seg.reporting.page import embedded


class Blank(Volume):
    """A volume of air."""

    def hu(self, rank: int) -> np.ndarray:
        return np.full(self.meta.shape[1:], -1000, np.int16)

    def mask(self, rank: int) -> np.ndarray:
        return np.zeros(self.meta.shape[1:], np.uint8)


@pytest.fixture
def meta(phantom_root: Path, tmp_path: Path) -> Meta:
    (volume,) = open_volumes(tmp_path, [find_patients(phantom_root)["1"]])
    return volume.meta


@pytest.mark.parametrize("slices", [1, 7])
@pytest.mark.parametrize("masks", [True, False])
def test_a_patient_of_whom_there_is_nothing_to_see_has_its_pictures(meta: Meta, slices: int, masks: bool) -> None:
    shape = (slices, *meta.shape[1:])
    meta = replace(meta, shape=shape, z_mm=meta.z_mm[:slices], liver_pixels=[0] * slices if masks else None)
    nothing = Measures(4, [""] * slices, [0.0] * slices, 0.0, 0.0, None, None, [0] * 60, [0] * 60, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert embedded(patient_figure(Blank("1", Path("nowhere"), meta), nothing))
