"""What a training step of an experiment keeps on its device, estimated on the CPU from the tensors' sizes.

    python benchmarks/activations.py experiment=best

Counted are the tensors that backward needs, of one slice, times the batch; half of that in half precision. A device
needs more: buffers of its convolutions, fragments, the framework itself.
"""

import sys
from dataclasses import asdict

import torch
from hydra import compose, initialize_config_dir

from chaos_seg.command_line import CONF_DIR
from chaos_seg.config import TrainConfig, checked
from chaos_seg.experiment import completed, segmenter_of

MIB = 2**20


def main() -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = completed(checked(TrainConfig, compose("train", overrides=sys.argv[1:])))
    segmenter = segmenter_of(config).train()
    weights = {value.untyped_storage().data_ptr() for value in segmenter.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    image = torch.zeros(1, segmenter.preprocessing.channels, config.image_size, config.image_size)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        segmenter._loss_of(segmenter(image), torch.zeros(1, 1, config.image_size, config.image_size))
    slice_mib = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / MIB
    numbers = sum(value.numel() for value in segmenter.parameters())
    half = "16" in str(asdict(config.trainer)["precision"])
    print(
        f"{numbers / 1e6:.1f} million weights: {16 * numbers / MIB:.0f} MiB with gradients and both moments\n"
        f"{slice_mib:.0f} MiB a slice in single precision; a batch of {config.batch_size}"
        f"{' in half precision' if half else ''}: {slice_mib * config.batch_size / (2 if half else 1):.0f} MiB"
    )


if __name__ == "__main__":
    main()
