"""Batch norm folded into convolutions for inference."""

import pytest
import torch
from torch import nn

from chaos_seg.inference.folding import folded
from chaos_seg.networks.resunet import ResidualUNet
from chaos_seg.networks.unet import UNet


def of_random_statistics(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.3, 3)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("network", [UNet(base=4), ResidualUNet(base=4)], ids=["unet", "resunet"])
def test_no_norm_is_left_and_the_logits_are_the_same(network: nn.Module) -> None:
    before = {key: value.clone() for key, value in of_random_statistics(network).state_dict().items()}
    image = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.inference_mode():
        expected, found = network(image), folded(network)(image)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.std().item())
    assert norms(network) > 0 and norms(folded(network)) == 0
    assert folded(network).head is network.head  # shared, not copied
    for key, value in network.state_dict().items():  # whoever gave it can train on
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    "network",
    [
        ResidualUNet(base=4, norm="instance"),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3)),
    ],
    ids=["instance norm", "a step between", "no statistics", "norm first"],
)
def test_what_can_not_be_folded_stays_the_same_network(network: nn.Module) -> None:
    assert folded(network) is network


def test_one_that_is_folded_in_part_is_the_same_function() -> None:
    network = of_random_statistics(
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), nn.ReLU(), nn.BatchNorm2d(4))
    )
    image = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(folded(network)(image), network(image), rtol=1e-4, atol=1e-5)
    assert norms(folded(network)) == 1
