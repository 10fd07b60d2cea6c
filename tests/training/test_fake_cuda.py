"""Losses, optimizers, levers and networks on fake tensors of a device: a tensor left on another one fails here.

Convolutions ask a build of torch for its CUDA, and can't be faked by one without: networks are on the device `meta`.
Only a GPU shows mixed precision with its scaler in a whole run, pinned memory, deterministic kernels, torch.compile's
kernels there and several processes with NCCL (two processes with gloo run in test_train.py).
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from chaos_seg.registry import LOSSES, NETWORKS, OPTIMIZERS
from chaos_seg.training.levers import HalfSize
from chaos_seg.training.segmenter import Segmenter

MODE = FakeTensorMode()
SHAPE = (2, 1, 16, 16)


def on_meta(like: torch.Tensor) -> torch.Tensor:
    return FakeTensor(MODE, torch.empty(like.shape, dtype=like.dtype, device="meta"), torch.device("meta"))


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


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_steps_on_the_device(name: str) -> None:
    with MODE:
        weight = torch.nn.Parameter(on_cuda(4, 4))
        weight.grad = on_cuda(4, 4)
        optimizer = OPTIMIZERS.build({"name": name, "learning_rate": 1e-3}, [weight])
        optimizer.step()
        kept = [value for value in optimizer.state[weight].values() if value.ndim]
    assert kept and all(value.device.type == "cuda" for value in kept)


@pytest.mark.parametrize(
    ("name", "options"),
    [("unet", {}), ("resunet", {"deep_supervision": True}), ("efficientnet", {"pretrained": False})],
)
def test_every_network_stays_on_the_device_forward_and_backward(name: str, options: dict[str, object]) -> None:
    net = NETWORKS.build({"name": name, **options}, 1)
    for module in net.modules():
        for key, given in list(module._parameters.items()):
            module._parameters[key] = given if given is None else torch.nn.Parameter(on_meta(given))
        for key, given in list(module._buffers.items()):
            module._buffers[key] = given if given is None else on_meta(given)
    with MODE:
        outputs = net(on_meta(torch.empty(2, 1, 64, 64)))
        for logits in outputs if isinstance(outputs, tuple) else [outputs]:
            LOSSES.build({"name": "dice_bce"})(logits, on_meta(torch.empty(logits.shape))).backward(retain_graph=True)
    learned = [given for given in net.parameters() if given.grad is not None]
    assert len(learned) == len([*net.parameters()]) and {given.grad.device.type for given in learned} == {"meta"}  # type: ignore[union-attr]
    with pytest.raises(Exception, match="device"):
        net(torch.empty(2, 1, 64, 64))


def test_half_the_size_and_deep_supervision_stay_on_the_device() -> None:
    segmenter = type("Segmenter", (), {"loss": LOSSES.build({"name": "dice_bce"})})
    with MODE:
        batch = {"image": on_cuda(*SHAPE), "mask": on_cuda(*SHAPE)}
        HalfSize(1).on_train_batch_start(type("Trainer", (), {"current_epoch": 0}), None, batch, 0)  # type: ignore[arg-type]
        assert all(one.device.type == "cuda" and one.shape == (2, 1, 8, 8) for one in batch.values())
        loss = Segmenter._loss_of(segmenter, (on_cuda(*SHAPE), on_cuda(2, 1, 8, 8)), on_cuda(*SHAPE))  # type: ignore[arg-type]
    assert loss.device.type == "cuda"
