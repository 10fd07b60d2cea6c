"""Slots: what there is by name, its options, and entries of other packages."""

from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

from chaos_seg import registry
from chaos_seg.errors import UserError
from chaos_seg.registry import LOSSES, NETWORKS, OPTIMIZERS, SPLITS, Slot


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(UserError, match=r"loss.name=dyce: expected one of bce, dice, dice_bce, dice_topk, iou"):
        LOSSES.build({"name": "dyce"})
    with pytest.raises(
        UserError, match=r"loss dice: got an unexpected keyword argument 'smoth'; its options are: smooth"
    ):
        LOSSES.build({"name": "dice", "smoth": 1})
    with pytest.raises(
        UserError, match=r"loss bce: got an unexpected keyword argument 'smooth'; its options are: none"
    ):
        LOSSES.build({"name": "bce", "smooth": 1.0})
    with pytest.raises(UserError, match=r"optimizer adam: missing a required argument: 'learning_rate'; its options"):
        OPTIMIZERS.build({"name": "adam"}, [])
    with pytest.raises(UserError, match=r"loss.name=None: expected one of"):
        LOSSES.build({})


@pytest.mark.parametrize(
    ("slot", "settings", "said"),
    [
        (LOSSES, {"name": "iou", "smooth": "abc"}, "loss.smooth=abc: expected float, found str"),
        (NETWORKS, {"name": "unet", "base": [8]}, r"network.base=\[8\]: expected int, found list"),
        (NETWORKS, {"name": "unet", "base": True}, "network.base=True: expected int, found bool"),
        (NETWORKS, {"name": "unet", "depth": 2.5}, "network.depth=2.5: expected int, found float"),
        (SPLITS, {"name": "lists", "train": ["1"], "val": [2], "test": []}, r"data.split.val=\[2\]: expected list"),
    ],
)
def test_options_of_another_type_are_refused(slot: Slot, settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        slot.build(settings, *[None] * slot.given)


def test_complete_settings_have_their_defaults() -> None:
    assert LOSSES.complete({"name": "bce"}) == {"name": "bce"}
    assert LOSSES.complete({"name": "dice"}) == LOSSES.complete({"name": "dice", "smooth": 1})
    assert repr(LOSSES.complete({"name": "dice", "smooth": 1})) == "{'name': 'dice', 'smooth': 1.0}"
    assert LOSSES.complete({"name": "iou", "smooth": 0.5})["smooth"] == 0.5
    adamw = OPTIMIZERS.complete({"name": "adamw", "learning_rate": 1})
    assert adamw == {"name": "adamw", "learning_rate": 1.0, "weight_decay": 0.01}  # the parameters are no option


class Absolute(nn.Module):
    """A loss of somebody else's package."""

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.scale * (logits.sigmoid() - target).abs().mean()


def test_another_package_registers_one_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("absolute", f"{__name__}:Absolute", "chaos_seg.losses")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Absolute)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])
    loss = LOSSES.build({"name": "absolute", "scale": 2})
    assert loss(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)).item() == 1.0
    assert LOSSES.complete({"name": "absolute"}) == {"name": "absolute", "scale": 1.0}
    assert list(LOSSES.entries())[-1] == "absolute"
    with pytest.raises(UserError, match="expected one of absolute, bce, dice, dice_bce, dice_topk, iou"):
        LOSSES.build({"name": "dyce"})


def test_a_name_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="loss 'dice' is registered already"):
        LOSSES.register("dice")(Absolute)
    entry = EntryPoint("dice", f"{__name__}:Absolute", "chaos_seg.losses")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])
    with pytest.raises(UserError, match="loss dice: an installed package gives another one of this name"):
        LOSSES.build({"name": "dice"})


def test_an_entry_point_that_leads_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("theirs", "no_such_package:Loss", "chaos_seg.losses")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])
    said = (
        r"loss theirs: expected no_such_package:Loss of another package \(entry point group chaos_seg.losses\), but Mod"
    )
    with pytest.raises(UserError, match=said):
        LOSSES.build({"name": "theirs"})
