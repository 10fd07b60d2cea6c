import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.registry import NETWORKS

MONAI = {"name": "monai", "network": "UNet", "options": {"channels": [4, 8, 16], "strides": [2, 2]}}
SMP = {"name": "smp", "arch": "unet", "encoder_name": "resnet18"}


@pytest.mark.parametrize(
    ("package", "settings", "divisor"), [("monai", MONAI, 16), ("segmentation_models_pytorch", SMP, 32)]
)
def test_they_give_a_logit_for_each_pixel_of_several_channels(
    package: str, settings: dict[str, object], divisor: int
) -> None:
    pytest.importorskip(package)
    net = NETWORKS.build(settings, 3)
    assert net.divisor == divisor and net.eval()(torch.zeros(2, 3, 64, 32)).shape == (2, 1, 64, 32)


@pytest.mark.parametrize(
    ("package", "settings", "said"),
    [
        ("monai", {**MONAI, "network": "Nothing"}, "network=Nothing: expected a class of monai.networks.nets"),
        ("monai", {**MONAI, "options": {"colour": 1}}, "network monai.networks.nets.UNet: expected its own options"),
        ("segmentation_models_pytorch", {**SMP, "arch": "none"}, "segmentation_models_pytorch none: expected its own"),
    ],
)
def test_wrong_options_are_one_sentence(package: str, settings: dict[str, object], said: str) -> None:
    pytest.importorskip(package)
    with pytest.raises(UserError, match=said):
        NETWORKS.build(settings, 1)


def test_a_network_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos_seg.registry.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"network monai needs monai; install it with pip install -e '.\[monai\]'"):
        NETWORKS.build(MONAI, 1)
