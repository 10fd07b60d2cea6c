"""The losses on fake tensors of a GPU: a tensor left on the wrong device fails here.

Convolutions and indexing ask a build of torch for its CUDA, and can't be faked by one without.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from chaos_seg.registry import LOSSES

MODE = FakeTensorMode()
SHAPE = (2, 1, 16, 16)


def on_cuda(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return FakeTensor(MODE, torch.empty(*shape, dtype=dtype, device="meta"), torch.device("cuda"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["bce", "dice", "iou", "dice_bce", "dice_topk"])
def test_every_loss_stays_on_the_device_in_single_and_mixed_precision(name: str, dtype: torch.dtype) -> None:
    loss = LOSSES.build({"name": name})
    with MODE:
        value = loss(on_cuda(*SHAPE, dtype=dtype), on_cuda(*SHAPE))
    assert (value.device.type, value.dtype, value.shape) == ("cuda", torch.float32, ())


def test_a_tensor_on_the_wrong_device_fails() -> None:
    with MODE, pytest.raises(RuntimeError, match="device"):
        LOSSES.build({"name": "dice"})(on_cuda(*SHAPE), torch.zeros(*SHAPE))
