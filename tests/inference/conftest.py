import numpy as np
import pytest

from tests.inference.blunt_liver import Scan, blunt_liver


@pytest.fixture
def sound() -> Scan:
    """A mask that is right: the liver at 100 HU inside fat, with noise."""
    mask = blunt_liver()
    hu = np.where(mask, 100, -100) + np.random.default_rng(0).normal(0, 15, mask.shape)
    return mask, lambda rank: hu[rank].astype(np.int16)
