import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.networks.resunet import ResidualBlock, ResidualUNet
from chaos_seg.registry import NETWORKS


@pytest.mark.parametrize(("fold", "norm"), [(1, "batch"), (2, "batch"), (2, "instance"), (4, "instance")])
def test_gives_a_logit_for_each_pixel(fold: int, norm: str) -> None:
    net = ResidualUNet(base=4, depth=2, fold=fold, norm=norm)
    assert net.divisor == 4 * fold
    assert net(torch.zeros(2, 1, 32, 48)).shape == (2, 1, 32, 48)
    with pytest.raises(UserError, match=rf"H and W divisible by {4 * fold}, found \(2, 1, 32, 46\)"):
        net(torch.zeros(2, 1, 32, 46))


def test_what_is_folded_at_the_input_is_unfolded_at_its_own_place() -> None:
    """A bright pixel changes logits around it, and none far away: channels come back as the pixels that they were."""
    torch.manual_seed(0)
    net = ResidualUNet(base=4, depth=1, fold=2, dropout=0).eval()
    image = torch.zeros(1, 1, 64, 64)
    changed = image.clone()
    changed[0, 0, 40, 17] = 1
    with torch.no_grad():
        rows, columns = torch.nonzero((net(changed) - net(image))[0, 0].abs() > 1e-7, as_tuple=True)
    assert 40 in rows and 17 in columns
    assert rows.min() > 10 and columns.max() < 47 and abs(rows.float().mean() - 40) < 8


def test_a_block_adds_to_its_input_and_the_bottom_is_dropped() -> None:
    block, x = ResidualBlock(3, 3, "batch").eval(), torch.randn(1, 3, 8, 8, generator=torch.manual_seed(0))
    torch.nn.init.zeros_(block.body[3].weight)
    assert torch.equal(block(x), x.relu())
    net = ResidualUNet(base=4, depth=1, dropout=0.5).eval()
    next(layer for layer in net.modules() if isinstance(layer, torch.nn.Dropout)).train()
    image = torch.randn(1, 1, 16, 16)
    assert not torch.equal(net(image), net(image))


def test_instance_norm_sees_each_slice_alone_in_training_too() -> None:
    net = ResidualUNet(base=4, depth=1, norm="instance", dropout=0).train()
    images = torch.randn(3, 1, 16, 16, generator=torch.manual_seed(0))
    assert torch.allclose(net(images)[:1], net(images[:1]), atol=1e-5)
    batch = ResidualUNet(base=4, depth=1, norm="batch", dropout=0).train()
    assert not torch.allclose(batch(images)[:1], batch(images[:1]), atol=1e-2)


@pytest.mark.parametrize("options", [{"base": 0}, {"fold": 0}, {"norm": "group"}, {"dropout": 1.0}])
def test_odd_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(
        UserError, match="network resunet: expected base, depth and fold above 0, norm batch or instance"
    ):
        NETWORKS.build({"name": "resunet", **options})


def test_deep_supervision_gives_coarser_logits_in_training_alone() -> None:
    torch.manual_seed(0)
    net = ResidualUNet(base=2, depth=4, deep_supervision=True)
    outputs = net(torch.zeros(1, 1, 64, 64))
    assert [tuple(one.shape) for one in outputs] == [(1, 1, 64, 64), (1, 1, 32, 32), (1, 1, 16, 16)]
    assert net.eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 1, 64, 64)
    torch.manual_seed(0)
    plain = ResidualUNet(base=2, depth=4)
    assert plain.state_dict().keys() < net.state_dict().keys()
