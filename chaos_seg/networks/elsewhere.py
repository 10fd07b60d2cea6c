"""Networks of other packages, by their names there."""

from typing import Any

from torch import nn

from chaos_seg.errors import UserError
from chaos_seg.registry import NETWORKS


@NETWORKS.register("monai", needs=("monai", "monai"))
def monai_network(inputs: int, network: str, divisor: int = 16, options: dict[str, Any] | None = None) -> nn.Module:
    """One of monai.networks.nets in two dimensions; `divisor` is of the image sizes that it takes."""
    from monai.networks import nets

    if not isinstance(made := getattr(nets, network, None), type):
        raise UserError(f"network.network={network}: expected a class of monai.networks.nets; correct its name.")
    sizes = {"spatial_dims": 2, "in_channels": inputs, "out_channels": 1}
    return _built(f"monai.networks.nets.{network}", divisor, made, {**sizes, **(options or {})})


@NETWORKS.register("smp", needs=("segmentation_models_pytorch", "smp"))
def smp_network(
    inputs: int, arch: str, encoder_name: str, divisor: int = 32, options: dict[str, Any] | None = None
) -> nn.Module:
    """One of segmentation_models_pytorch, its encoder untrained: weights for photographs would have to be fetched."""
    import segmentation_models_pytorch as smp

    sizes = {"arch": arch, "encoder_name": encoder_name, "encoder_weights": None, "in_channels": inputs, "classes": 1}
    return _built(f"segmentation_models_pytorch {arch}", divisor, smp.create_model, {**sizes, **(options or {})})


def _built(name: str, divisor: int, make: Any, options: dict[str, Any]) -> nn.Module:
    try:
        net: nn.Module = make(**options)
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"network {name}: expected its own options, found {options}: {reason}; correct them.") from None
    net.divisor = divisor  # type: ignore[assignment]
    return net
