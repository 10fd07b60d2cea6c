"""A model as a MONAI bundle, which MONAI runs without this package: NIfTI in, masks out.

Its network is TorchScript and takes a slice in HU at its own size, so that preprocessing can not be left out.
"""

import io
import warnings
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from chaos_seg.data.dicom import HU_RANGE
from chaos_seg.data.preprocessing import Window
from chaos_seg.errors import UserError
from chaos_seg.evaluation.masks import BRIDGE_MM, WIDEST
from chaos_seg.files import write_bytes, write_json
from chaos_seg.networks.model import Model
from chaos_seg.sharing.check import DIFFERENT_PIXELS

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
MONAI, IGNITE, NIBABEL, SCIPY = "1.6.1", "0.5.5", "5.4.2", "1.17.1"  # with which it was tried


def write_bundle(folder: Path, graph: bytes, model: Model, name: str, card: str, said: dict[str, Any]) -> None:
    """Write the bundle.

    Args:
        graph: of slice_network().
        card: docs/README.md.
        said: of metadata.json: description, authors, copyright, data_source, eval_metrics, intended_use.
    """
    write_bytes(folder / "models" / "model.ts", graph)
    weights = {key: value.contiguous() for key, value in model.net.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    write_bytes(folder / "models" / "model.pt", buffer.getvalue())  # which the specification asks for
    write_json(folder / "configs" / "metadata.json", _metadata(name, said))
    write_json(folder / "configs" / "inference.json", _inference(model.threshold, model.largest_component))
    write_bytes(folder / "docs" / "README.md", card.encode())
    write_bytes(folder / "LICENSE", (said["copyright"] + "\n").encode())


def slice_network(model: Model, hu: np.ndarray, mask: np.ndarray) -> bytes:
    """TorchScript: HU (N, 1, columns, rows), as MONAI has a slice with axes L, P and S, to probabilities of that shape.

    Args:
        hu, mask: (rows, columns) of a slice, and what the model gives of it; the graph was seen to give that too.

    Raises:
        UserError: a preprocessing that it does not know, or a network that TorchScript can't hold.
    """
    preprocessing = model.preprocessing
    if not isinstance(preprocessing, Window) or preprocessing.neighbours or preprocessing.crop:
        options = model.settings["preprocessing"]
        raise UserError(
            "A MONAI bundle: expected the preprocessing window of one slice, without a crop, found "
            f"{options}; it is left out."
        )
    size, buffer = preprocessing.image_size, io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # it is deprecated, and tells of sizes that networks check in Python
            net = torch.jit.trace(model.net.cpu().eval(), torch.zeros(2, 1, size, size))
            graph = torch.jit.script(_SliceNetwork(net, size, preprocessing.level_hu, preprocessing.width_hu / 2))
            torch.jit.save(graph.eval(), buffer)
            content = _without_paths(buffer.getvalue())
            image = torch.from_numpy(np.ascontiguousarray(hu.T)).float()[None, None]
            found = torch.jit.load(io.BytesIO(content))(image)[0, 0].numpy().T * 255
    except (RuntimeError, torch.jit.Error) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"A MONAI bundle: TorchScript can't hold this network ({reason:.99}); it is left out."
        ) from None
    if (different := np.count_nonzero((found > model.threshold) != mask)) > DIFFERENT_PIXELS * mask.size:
        raise RuntimeError(f"expected the mask of torch from TorchScript, found {different} pixels different")
    return content


class _SliceNetwork(nn.Module):
    """Window, resizing and network, with OpenCV's rules in torch."""

    def __init__(self, net: nn.Module, size: int, level_hu: float, half_width_hu: float):
        super().__init__()
        self.net, self.size = net, size
        self.level_hu, self.half_width_hu = float(level_hu), float(half_width_hu)
        self.low, self.high = float(HU_RANGE[0]), float(HU_RANGE[1])

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        hu = hu.float().transpose(2, 3).round().clamp(self.low, self.high)
        rows, columns = hu.shape[2], hu.shape[3]
        image = ((hu - self.level_hu) / self.half_width_hu).clamp(-1.0, 1.0)
        probability = self.net(_resized(image, self.size, self.size)).sigmoid()
        return _resized(probability, rows, columns).transpose(2, 3)


def _resized(image: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(N, 1, H, W) resized as data/preprocessing.py does."""
    if image.shape[2] == rows and image.shape[3] == columns:
        return image
    shrinks = rows < image.shape[2]
    down, across = _weights(rows, image.shape[2], shrinks), _weights(columns, image.shape[3], shrinks)
    return down.to(image.device) @ image @ across.to(image.device).transpose(0, 1)


def _weights(size: int, of: int, area: bool) -> torch.Tensor:
    """What each of `of` pixels in a line is worth to each of `size`: its share of the area, or bilinear."""
    step = float(of) / float(size)
    pixel = torch.arange(of, dtype=torch.float64)[None]
    start = torch.arange(size, dtype=torch.float64)[:, None] * step
    if area:
        weights = (torch.minimum(start + step, pixel + 1.0) - torch.maximum(start, pixel)).clamp(min=0.0) / step
    else:
        centre = (start + step / 2.0 - 0.5).clamp(0.0, float(of - 1))
        weights = (1.0 - (centre - pixel).abs()).clamp(min=0.0)
    return weights.float()


def _without_paths(graph: bytes) -> bytes:
    """A TorchScript file without its debug records, which name the source files on this machine."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(graph)) as source, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry))
    return kept.getvalue()


def _metadata(name: str, said: dict[str, Any]) -> dict[str, Any]:
    tensor = {
        "type": "image",
        "modality": "CT",
        "num_channels": 1,
        "spatial_shape": ["*", "*"],
        "dtype": "float32",
        "is_patch_data": False,
    }
    image = {"format": "hounsfield", "value_range": list(HU_RANGE), "channel_def": {"0": "HU, axes L and P"}}
    pred = {"format": "segmentation", "value_range": [0, 1], "channel_def": {"0": "probability of liver"}}
    return {
        "schema": SCHEMA,
        "version": version("chaos_seg"),
        "changelog": {version("chaos_seg"): "written by chaos_seg.share"},
        "monai_version": MONAI,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"nibabel": NIBABEL, "pytorch-ignite": IGNITE, "scipy": SCIPY},
        "name": name,
        "task": "Segmentation of the liver in axial slices of CT",
        **said,
        "data_type": "nibabel",
        "image_classes": "one channel, Hounsfield units",
        "label_classes": "one channel, 1 is liver, 0 is everything else",
        "pred_classes": "one channel, the probability of liver",
        "network_data_format": {"inputs": {"image": {**tensor, **image}}, "outputs": {"pred": {**tensor, **pred}}},
    }


THERE: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"},
    {"_target_": "EnsureTyped", "keys": "image"},
]
INVERTED = {"transform": "@preprocessing", "orig_keys": "image", "nearest_interp": True, "to_tensor": True}
SAVED = {"output_dir": "@output_dir", "output_postfix": "liver", "output_dtype": "$numpy.uint8", "resample": False}
BACK: list[dict[str, Any]] = [
    {"_target_": "Lambdad", "keys": "pred", "func": "$lambda p: (255 * p > @threshold).float()"},
    {"_target_": "Invertd", "keys": "pred", **INVERTED},
    {"_target_": "SaveImaged", "keys": "pred", "separate_folder": False, **SAVED},
]
LARGEST = {
    "_target_": "Lambdad",
    "keys": "pred",
    "func": "$lambda p: p * torch.as_tensor(@largest(p[0].numpy(force=True), p.pixdim.tolist()), device=p.device)",
}
# evaluation.masks.largest_component of bool (columns, rows, slices); MONAI's own transform compares parts by voxels.
PARTS = {
    "bridge_mm": BRIDGE_MM,
    "widest": WIDEST,
    "within": "$lambda mm: @bridge_mm + 1e-3 * min(mm[:2])",
    "reach": "$lambda mm, k: min(@within(mm) // mm[k], @widest)",
    "steps": "$lambda mm, k: numpy.arange(-@reach(mm, k), @reach(mm, k) + 1) * mm[k]",
    "disc": "$lambda mm: numpy.hypot(@steps(mm, 0)[:, None], @steps(mm, 1)) <= @within(mm)",
    "of_planes": "$lambda change, mask: numpy.stack([change(mask[..., k]) for k in range(mask.shape[-1])], axis=-1)",
    "eroded": "$lambda mask, disc: @of_planes(lambda k: ndimage.binary_erosion(k, disc, border_value=1), mask)",
    "dilated": "$lambda mask, disc: @of_planes(lambda k: ndimage.binary_dilation(k, disc), mask)",
    "fitting": "$lambda mask, disc: disc if @eroded(mask, disc).any() else numpy.ones((1, 1))",
    "labels": "$lambda mask: ndimage.label(mask, numpy.ones((3, 3, 3)))[0]",
    "filled": "$lambda plane: ndimage.binary_fill_holes(numpy.pad(plane, 1))",
    "depth_in": "$lambda plane: ndimage.distance_transform_edt(@filled(plane))[1:-1, 1:-1]",
    "depth": "$lambda mask: @of_planes(@depth_in, mask)",
    "bulk": "$lambda labels, depth: numpy.append(0, numpy.bincount(labels.ravel(), depth.ravel())[1:])",
    "chosen": "$lambda labels, depth: (labels > 0) & (labels == @bulk(labels, depth).argmax())",
    "part": "$lambda mask: @chosen(@labels(mask), @depth(mask))",
    "opened": "$lambda mask, disc: @dilated(@part(@eroded(mask, disc)), disc)",
    "largest": "$lambda mask, mm: @opened(mask, @fitting(mask, @disc(mm)))",
}


def _inference(threshold: float, largest_component: bool) -> dict[str, Any]:
    """What MONAI runs: every NIfTI in dataset_dir to <name>_liver.nii.gz in output_dir, on the voxels of the scan."""
    return {
        "imports": ["$import glob", "$import numpy", "$import torch", "$from scipy import ndimage"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/scans'",
        "output_dir": "$@bundle_root + '/masks'",
        "threshold": threshold,
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii*'))",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location='cpu')",
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": THERE},
        **(PARTS if largest_component else {}),
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False},
        "inferer": {"_target_": "SliceInferer", "roi_size": [-1, -1], "spatial_dim": 2, "sw_batch_size": 4},
        "postprocessing": {"_target_": "Compose", "transforms": [BACK[0], *[LARGEST] * largest_component, *BACK[1:]]},
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }
