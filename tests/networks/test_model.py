"""A network with all that it needs to predict."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from chaos_seg.errors import UserError
from chaos_seg.networks.model import Model
from chaos_seg.registry import NETWORKS
from chaos_seg.training.segmenter import Segmenter
from chaos_seg.training.slice_counts import SliceCounts


def model(kind: type[Model] = Model, **changed: object) -> Any:
    settings = {
        "network": {"name": "unet", "base": 4, "depth": 2, "dropout": 0.0},
        "loss": {"name": "dice"},
        "preprocessing": {"name": "window", "image_size": 32, "level_hu": 0, "width_hu": 2800},
        "optimizer": {"name": "adam", "learning_rate": 1e-2},
        "threshold": 100,
    }
    return kind(**{**settings, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [100, 127.5, 200])
def test_threshold_on_logits_is_that_on_8_bit_probabilities(threshold: float) -> None:
    probability = torch.linspace(0.001, 0.999, 999)
    by_logit = torch.logit(probability) > model(threshold=threshold).logit_threshold
    assert torch.equal(by_logit, probability * 255 > threshold)


def test_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (model(seed=seed).net.head.weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_loading_a_model_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model(seed=1)
    assert torch.equal(torch.rand(2), expected)


class Odd(torch.nn.Module):
    """A network without a divisor, of `outputs` channels at every `stride`-th pixel."""

    def __init__(self, inputs: int, outputs: int = 1, stride: int = 1):
        super().__init__()
        self.layer = torch.nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(image)
        return logits


@pytest.fixture
def odd() -> Iterator[None]:
    NETWORKS.register("odd")(Odd)
    yield
    del NETWORKS._entries["odd"]


def test_a_network_gives_a_logit_for_each_pixel_or_is_refused_at_once(odd: None) -> None:
    assert model(network={"name": "odd"}).net.training
    for options, shape in (({"outputs": 2}, r"\(2, 2, 32, 32\)"), ({"stride": 2}, r"\(2, 1, 16, 16\)")):
        with pytest.raises(UserError, match=rf"network odd: expected logits \(2, 1, 32, 32\) .*, found {shape}"):
            model(network={"name": "odd", **options})


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_outputs_are_taken_in_training_alone(
    odd: None, monkeypatch: pytest.MonkeyPatch, kind: type[list[torch.Tensor]]
) -> None:
    plain = Odd.forward

    def coarser_too(self: Odd, image: torch.Tensor) -> Any:
        logits = plain(self, image)
        return kind([logits, logits[..., ::2, ::2]]) if self.training else logits

    monkeypatch.setattr(Odd, "forward", coarser_too)
    module = model(Segmenter, network={"name": "odd"})
    image, mask = torch.randn(2, 1, 32, 32), torch.ones(2, 1, 32, 32)
    module.train_counts = SliceCounts(2)
    monkeypatch.setattr(module, "log", lambda *_, **options: None)
    module._epoch_slices = 0
    loss = module.training_step({"image": image, "mask": mask, "index": torch.arange(2)}, 0)
    assert torch.equal(loss, module._loss_of(module(image), mask)) and module.train_counts.compute().sum() == 2048
    monkeypatch.setattr(Odd, "forward", lambda self, image: [plain(self, image)])
    with pytest.raises(UserError, match=r"network odd: expected logits \(2, 1, 32, 32\) .*, found \('list',\); choose"):
        model(network={"name": "odd"})
    monkeypatch.setattr(
        Odd,
        "forward",
        lambda self, image: torch.stack([plain(self, image)] * 2, 1) if self.training else plain(self, image),
    )
    with pytest.raises(UserError, match=r"found \(2, 2, 1, 32, 32\) in training; choose other options"):
        model(Segmenter, network={"name": "odd"})
    monkeypatch.setattr(Odd, "forward", lambda self, image: image @ image[:, :, :3])
    with pytest.raises(UserError, match=r"network odd: it takes no images \(2, 1, 32, 32\) \("):
        model(network={"name": "odd"})


@pytest.mark.parametrize("threshold", [0, 255, 300])
def test_a_threshold_lies_between_0_and_255(threshold: float) -> None:
    with pytest.raises(UserError, match=f"threshold={threshold}: expected a number between 0 and 255"):
        model(threshold=threshold)


def test_prediction_needs_no_lightning() -> None:
    """Its import takes seconds."""
    script = (
        "import sys, chaos_seg.predict, chaos_seg.api; print([n for n in sys.modules if n.startswith('lightning')])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
