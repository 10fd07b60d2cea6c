"""The bundle: its network beside ours at any size of slice, and MONAI itself where it is installed."""

import json
import logging
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from chaos_seg import predict as predict_door
from chaos_seg.api import as_scan
from chaos_seg.data.sources.phantom import render
from chaos_seg.evaluation.masks import largest_component
from chaos_seg.inference.onnx import metadata
from chaos_seg.inference.predictor import Predictor
from chaos_seg.sharing.bundle import PARTS, write_bundle
from chaos_seg.training.checkpoints import load_model

# What https://project-monai.github.io/schema/meta_schema_20240725.json asks for.
STRINGS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors")
TENSOR = {
    "type": "object",
    "properties": {"num_channels": {"type": "integer"}, "value_range": {"type": "array", "items": {"type": "number"}}},
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
}
IO = {"type": "object", "patternProperties": {"^.+$": {"type": "object", "patternProperties": {"^.+$": TENSOR}}}}
SCHEMA = {
    "type": "object",
    "properties": {**{key: {"type": "string"} for key in (*STRINGS, "copyright")}, "network_data_format": IO},
    "required": [*STRINGS, "copyright", "required_packages_version", "network_data_format"],
}


@pytest.mark.parametrize("shape", [(32, 32), (48, 40), (33, 47), (20, 24), (96, 64)])
def test_its_network_takes_hu_and_gives_our_probabilities(shared: Path, shape: tuple[int, int]) -> None:
    """Slices of more and of fewer rows than the network's 32, and of other shapes than a square."""
    graph = torch.jit.load(shared / "bundle" / "models" / "model.ts")
    hu = np.stack([hu for hu, _ in render(np.random.default_rng(1), 4, 96)])[:, : shape[0], : shape[1]]
    predictor = Predictor([load_model(shared)[0]], torch.device("cpu"))
    ours = np.stack(list(predictor.probabilities(as_scan(hu.astype(np.int16)))))
    axes = np.ascontiguousarray(hu.transpose(0, 2, 1)[:, None]).astype(np.float32)
    with torch.inference_mode():
        theirs = graph(torch.from_numpy(axes))[:, 0].numpy().transpose(0, 2, 1)
    assert theirs.shape == ours.shape and np.ptp(ours) > 0.1 and np.abs(theirs - ours).max() < 1e-5


def test_weights_and_metadata(shared: Path) -> None:
    weights = torch.load(shared / "bundle" / "models" / "model.pt", weights_only=True)
    own = load_model(shared)[0].net.state_dict()
    assert weights.keys() == own.keys() and all(torch.equal(value, own[key]) for key, value in weights.items())
    said = json.loads((shared / "bundle" / "configs" / "metadata.json").read_text())
    assert (
        said["copyright"] == "cc-by-4.0" and said["authors"] == "Not stated." and "Not a medical" in said["description"]
    )
    assert said["network_data_format"]["inputs"]["image"]["format"] == "hounsfield"


def test_monai_verifies_and_runs_it_to_our_masks(
    shared: Path, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two NIfTIs that lie in memory otherwise, and not square."""
    for package in ("monai", "ignite", "fire", "jsonschema"):
        pytest.importorskip(package)
    nib = pytest.importorskip("nibabel")
    from monai import bundle

    assert load_model(shared)[0].largest_component  # so that this step is run, too

    hu = np.stack([hu for hu, _ in render(np.random.default_rng(5), 6, 48)]).clip(-1024, 3000)[:, :, 3:43]
    volume = hu.transpose(2, 1, 0).astype(np.int16)  # columns to the left, rows to the back, slices to the feet
    (tmp_path / "scans").mkdir()
    lps = np.diag([-3.0, -3.0, -40.0, 1.0])  # so that a disc of 4 mm is more than a pixel
    nib.save(nib.Nifti1Image(volume, lps), tmp_path / "scans" / "a.nii.gz")
    nib.save(nib.as_closest_canonical(nib.Nifti1Image(volume, lps)), tmp_path / "scans" / "b.nii.gz")
    given = [f"ckpt={shared}", f"input={tmp_path / 'scans'}", f"output={tmp_path / 'ours'}", "formats=[nifti]"]
    monkeypatch.setattr(sys, "argv", ["predict", *given, "device=cpu", "alarms=false"])
    predict_door.main()

    root = str(shared / "bundle")
    files = {
        f"{name}_file": f"{root}/configs/{file}.json" for name, file in (("meta", "metadata"), ("config", "inference"))
    }
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    bundle.verify_metadata(meta_file=files["meta_file"], filepath=tmp_path / "schema.json")
    bundle.verify_net_in_out("network_def", **files, device="cpu", any=40, bundle_root=root)
    places = {"bundle_root": root, "dataset_dir": str(tmp_path / "scans"), "output_dir": str(tmp_path / "theirs")}
    before = logging.root.handlers[:]
    bundle.run(config_file=files["config_file"], device="$torch.device('cpu')", **places)
    logging.root.handlers[:] = before
    for name in "ab":
        ours = nib.load(tmp_path / "ours" / name / "liver.nii.gz")
        theirs = nib.load(tmp_path / "theirs" / f"{name}_liver.nii.gz")
        one, other = np.asarray(ours.dataobj), np.asarray(theirs.dataobj)
        assert np.allclose(ours.affine, theirs.affine) and 0.02 < one.mean() < 0.5
        assert np.count_nonzero(one != other) <= one.size / 10_000


def test_its_largest_part_is_ours() -> None:
    """In masks where many parts are of a size, and where a sheet has more voxels than what is larger."""
    names: dict[str, Any] = {"ndimage": ndimage, "numpy": np}
    for name, text in PARTS.items():
        names[name] = eval(str(text).removeprefix("$").replace("@", ""), names)
    rng = np.random.default_rng(0)
    masks = [rng.random((9, 12, 14)) < share for share in (0, 0.03, 0.1, 0.2, 0.3, 0.6) for _ in range(5)]
    sheet = np.zeros((10, 30, 30), bool)
    sheet[:4, 2:12, 2:12] = sheet[6:, 24:28, :] = True
    for mask, (row_mm, column_mm) in product((*masks, sheet), ((9.0, 9.0), (3.0, 1.5))):
        turned, mm = mask.transpose(2, 1, 0), (column_mm, row_mm)
        core = names["eroded"](turned, names["fitting"](turned, names["disc"](mm)))
        bulk = np.sort(names["bulk"](names["labels"](core), names["depth"](core)))
        if len(bulk) < 2 or bulk[-1] - bulk[-2] > 1e-4:  # or they are equal but for rounding
            theirs = names["largest"](turned, mm).transpose(2, 1, 0)
            assert np.array_equal([*largest_component(mask, (row_mm, column_mm))], theirs)


@pytest.mark.parametrize("kept", [True, False])
def test_it_keeps_the_largest_part_as_predict_does(shared: Path, tmp_path: Path, kept: bool) -> None:
    model, _ = load_model(shared)
    model.largest_component = kept
    write_bundle(tmp_path, b"", model, "liver", "card", {"copyright": "x"})
    steps = json.loads((tmp_path / "configs" / "inference.json").read_text())["postprocessing"]["transforms"]
    assert any("@largest" in str(step.get("func")) for step in steps) == kept
    assert ("only the largest is kept" in metadata(model, 0)["postprocessing"]) == kept
