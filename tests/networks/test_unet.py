import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.networks.unet import UNet


@pytest.mark.parametrize(("depth", "size"), [(4, (48, 80)), (2, (4, 4)), (1, (6, 10)), (4, (512, 512))])
def test_output_has_the_size_of_the_input(depth: int, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert UNet(base=2, depth=depth).eval()(torch.zeros(1, 1, *size)).shape == (1, 1, *size)


def test_channels_double_from_base_to_the_bottom() -> None:
    net = UNet(base=8, depth=4)
    assert [block[0].out_channels for block in net.encoder] == [8, 16, 32, 64, 128]
    assert [block[0].in_channels for block in net.decoder] == [16, 32, 64, 128]
    # By hand: blocks 9 c (i + c) + 4 c, up 8 c^2 + c, head 9.
    blocks = [(1, 8), (8, 16), (16, 32), (32, 64), (64, 128), (16, 8), (32, 16), (64, 32), (128, 64)]
    expected = sum(9 * o * (i + o) + 4 * o for i, o in blocks) + sum(8 * c * c + c for c in (8, 16, 32, 64)) + 9
    assert sum(p.numel() for p in net.parameters()) == expected == 486_409


@pytest.mark.parametrize("shape", [(1, 1, 512, 500), (1, 1, 40, 64), (1, 3, 64, 64), (1, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"expected images \(N, 1, H, W\) with H and W divisible by 16, found \("):
        UNet()(torch.zeros(shape))


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net, image = UNet(base=2, depth=2, dropout=0.5), torch.randn(2, 1, 16, 16)
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))
    assert net.dropout.p == 0.5 and UNet().dropout.p == 0.2


@pytest.mark.parametrize(("place", "times"), [("bottom", 1), ("blocks", 5), ("joints", 4)])
def test_dropout_acts_where_it_is_asked_for(place: str, times: int) -> None:
    net, seen = UNet(base=2, depth=2, dropout=0.5, dropout_at=place), []
    net.dropout.register_forward_hook(lambda module, images, dropped: seen.append(images[0].shape[1:]))
    net(torch.randn(1, 1, 16, 16))
    assert len(seen) == times and (place != "bottom" or seen == [(8, 4, 4)])


def test_an_unknown_place_of_dropout_is_refused() -> None:
    with pytest.raises(UserError, match=r"network\.dropout_at=top: expected one of bottom, blocks, joints"):
        UNet(dropout_at="top")


def test_every_pixel_reaches_every_output_through_the_bottom() -> None:
    torch.manual_seed(0)
    net = UNet(base=8, depth=4, dropout=0).eval()
    image = torch.randn(1, 1, 32, 32, requires_grad=True)
    net(image)[0, 0, 0, 0].backward()
    assert image.grad is not None and image.grad[0, 0, 31].abs().sum() > 0
