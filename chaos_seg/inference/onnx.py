"""A trained model as ONNX, which runs without this package: its metadata says how to make its input and what to do
with its output.
"""

import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from chaos_seg.data.dicom import HU_RANGE
from chaos_seg.data.sources.phantom import render
from chaos_seg.errors import UserError
from chaos_seg.evaluation.masks import BRIDGE_MM
from chaos_seg.files import write_bytes
from chaos_seg.networks.model import Model
from chaos_seg.training.checkpoints import load_model

OPSET = 17  # the newest that torch 2.6 writes; read by every onnxruntime since 1.12
CHECKED_BATCHES = (1, 2, 5)
DIFFERENT_PIXELS = 1e-5  # share of a mask's pixels that may differ from torch's
PROBABILITY_GAP = 1e-4  # anywhere; rounding in another order makes some 1e-6

LARGEST = (
    f"Each axial slice is eroded by a disc with a radius of {BRIDGE_MM} mm (beyond the picture counts as liver; not at "
    "all if nothing would be left in the scan). Of the parts then connected through faces, edges and corners, all "
    "slices together, only the largest is kept and dilated by the same disc: the one whose pixels' distances from the "
    "background of their slice, holes left out, sum up to most."
)


class _Probability(nn.Module):
    """The graph: images (N, channels, size, size) in [-1, 1] to probabilities (N, 1, size, size)."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        probability: torch.Tensor = self.net(image).sigmoid()
        return probability


def metadata(model: Model, epoch: int) -> dict[str, str]:
    """What the file says of itself: enough to make its input from DICOM and a mask from its output."""
    preprocessing, network = model.preprocessing, dict(model.settings["network"])
    size, channels = preprocessing.image_size, preprocessing.channels
    threshold, loss = model.settings["threshold"], dict(model.settings["loss"])
    options = "".join(f", {key}={value}" for key, value in loss.items() if key != "name")
    return {
        "description": f"Liver segmentation in CT: a 2D network ({network['name']}) that gives each pixel of an axial "
        "slice its probability of liver.",
        "warning": "Not a medical device.",
        "input": f"image: float32 (N, {channels}, {size}, {size}), values -1 to 1; N slices, one or more, each on its "
        "own",
        "output": f"probability: float32 (N, 1, {size}, {size}), 0 to 1",
        "preprocessing": numbered(
            "HU = RescaleSlope * stored pixel + RescaleIntercept, both from the slice's own DICOM file, rounded and "
            f"clipped to {HU_RANGE[0]} ... {HU_RANGE[1]}; rows to the back and columns to the left of the patient, as "
            "ImageOrientationPatient 1 0 0 0 1 0 has them: flip or transpose a slice stored otherwise.",
            *preprocessing.in_words(),
            "image[n, 0] = x." if channels == 1 else "image[n, c] = x[..., c].",
        ),
        "postprocessing": numbered(
            preprocessing.back_in_words(),
            f"Liver is where 255 * probability > threshold = {threshold}.",
            *[LARGEST] * model.largest_component,
        ),
        **{key: str(value) for key, value in model.settings["preprocessing"].items() if key != "name"},
        "threshold": str(threshold),
        "loss": f"{loss['name']}{options}",
        "epoch": f"{epoch} (counted from 0)",
        "chaos_seg_version": version("chaos_seg"),
    }


def numbered(*steps: str) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))


def session(graph: bytes | Path) -> Any:
    """An onnxruntime session on the CPU for a model, given as file or content, with as many threads as torch has.

    Raises:
        UserError: onnx or onnxruntime is not installed.
    """
    _, onnxruntime = _packages()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    given = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def export(checkpoint: Path, output: Path) -> None:
    """Write the model in `checkpoint` as ONNX, once onnxruntime was seen to give the masks of torch.

    Raises:
        UserError: no checkpoint of ours, a name for the output that does not end in .onnx, or no onnx installed.
        RuntimeError: onnxruntime gives other masks than torch; nothing is written.
    """
    model, epoch = load_model(checkpoint)
    folders = next(parent for parent in output.parents if parent.exists())
    if output.suffix != ".onnx" or output.is_dir() or not folders.is_dir():
        raise UserError(f"{output}: expected a new file that ends in .onnx, in a folder; name one with --output.")
    onnx, _ = _packages()
    graph = onnx.load_model_from_string(_graph(model))
    onnx.helper.set_model_props(graph, metadata(model, epoch))
    onnx.checker.check_model(graph, full_check=True)
    content: bytes = graph.SerializeToString()
    _check_masks(content, model)
    write_bytes(output, content)


def _packages() -> tuple[Any, Any]:
    """The modules onnx and onnxruntime, which are optional."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"Export: expected the packages onnx and onnxruntime, but {error}; install them with "
            "pip install -e '.[onnx]'."
        ) from None
    return onnx, onnxruntime


def _graph(model: Model) -> bytes:
    """The network and a sigmoid as an ONNX model without metadata."""
    # torch's newer exporter (dynamo=True) makes the same nodes, but needs onnxscript and onnx-ir and notes in every
    # node the paths of the source files on this machine.
    size = model.preprocessing.image_size
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        file = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")  # it is deprecated, and tells of the size that the U-Net checks in Python
        torch.onnx.export(
            _Probability(model.net).eval(),
            (torch.zeros(2, model.preprocessing.channels, size, size),),
            file,
            input_names=["image"],
            output_names=["probability"],
            dynamic_axes={"image": {0: "N"}, "probability": {0: "N"}},
            opset_version=OPSET,
            dynamo=False,
        )
        return file.read_bytes()


def _check_masks(graph: bytes, model: Model) -> None:
    """Raise RuntimeError when onnxruntime and torch differ on slices of random phantoms in batches of some sizes."""
    preprocessing = model.preprocessing
    threshold = model.settings["threshold"]
    runtime, rng = session(graph), np.random.default_rng(0)
    by_torch: list[np.ndarray] = []
    by_runtime: list[np.ndarray] = []
    for count in CHECKED_BATCHES:
        hus = [hu for hu, _ in render(rng, count, preprocessing.image_size)]
        around = [np.stack([hus[(k + c) % count] for c in range(preprocessing.channels)], -1) for k in range(count)]
        images = np.stack([preprocessing.image(hu) for hu in around])
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        with torch.inference_mode():
            by_torch.append(model(torch.from_numpy(images)).float().sigmoid().numpy())
        by_runtime.append(runtime.run(["probability"], {"image": images})[0])
    a, b = np.concatenate(by_torch), np.concatenate(by_runtime)
    different, gap = float(np.mean((a * 255 > threshold) != (b * 255 > threshold))), float(np.abs(a - b).max())
    if not (different <= DIFFERENT_PIXELS and gap <= PROBABILITY_GAP):  # NaN is refused too
        raise RuntimeError(
            f"expected the masks of torch from onnxruntime, found {different:.1e} of the pixels different (at most "
            f"{DIFFERENT_PIXELS:g}) and probabilities {gap:.1e} apart (at most {PROBABILITY_GAP:g}); nothing written"
        )
