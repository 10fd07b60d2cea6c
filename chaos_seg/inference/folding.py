"""Batch norm made part of the convolutions before it."""

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """For inference: a batch norm that follows a convolution in an nn.Sequential becomes part of it.

    Returns:
        a copy, whose outputs are those of `network` but for rounding, and which shares with it what is the same in
        both; `network` itself where there is no such pair, as of a norm that stands elsewhere or has no statistics.
    """
    parts = {name: part and folded(part) for name, part in network._modules.items()}
    if isinstance(network, nn.Sequential):
        for (before, conv), (behind, norm) in pairwise(list(parts.items())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
                parts[before], parts[behind] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    if all(part is network._modules[name] for name, part in parts.items()):
        return network
    twin = copy.copy(network)
    twin._modules = parts
    return twin
