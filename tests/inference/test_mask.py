import numpy as np
import pytest

from chaos_seg.inference.mask import PackedMask


@pytest.mark.parametrize("shape", [(3, 5), (8, 8), (1, 17)])
def test_a_packed_mask_gives_back_its_planes(shape: tuple[int, int]) -> None:
    planes = np.random.default_rng(0).random((6, *shape)) > 0.5
    mask = PackedMask(planes)
    assert len(mask) == 6 and all((mask[rank] == planes[rank]).all() for rank in range(6))
    assert np.array_equal(np.stack(mask[1:3]), planes[1:3])
    assert mask.pixels().tolist() == planes.sum(axis=(1, 2)).tolist()
