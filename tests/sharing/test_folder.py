"""A shared folder: complete, loaded wherever a checkpoint is, and refused when it is not as it was handed on."""

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import chaos_seg
from chaos_seg import evaluate as evaluate_door
from chaos_seg import share as share_door
from chaos_seg.config import TrainConfig
from chaos_seg.experiment import completed, segmenter_of
from chaos_seg.inference.onnx import export
from chaos_seg.inference.promise import held_out
from chaos_seg.registry import PREPROCESSINGS
from chaos_seg.training.checkpoints import load_model, model_hash
from chaos_seg.training.initial import begin_with

FILES = {
    *(
        "README.md",
        "SHA256SUMS",
        "model.safetensors",
        "config.json",
        "model.onnx",
        "held_out.csv",
        "check/slice.dcm",
        "check/mask.png",
    ),
    *("bundle/LICENSE", "bundle/configs/metadata.json", "bundle/configs/inference.json", "bundle/docs/README.md"),
    *("bundle/models/model.pt", "bundle/models/model.ts"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_and_zip_are_complete_and_tell_nothing_of_this_machine(shared: Path, phantom_root: Path) -> None:
    files = contents(shared)
    assert set(files) == FILES
    with zipfile.ZipFile(shared.with_name("liver.zip")) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {f"liver/{k}": v for k, v in files.items()}
    sums = dict(reversed(line.split("  ")) for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    places = (str(phantom_root), str(shared.parent), str(Path(torch.__file__).parent), str(Path(__file__).parents[2]))
    assert not [name for name, content in files.items() if any(place.encode() in content for place in places)]
    assert not list(shared.parent.glob(".*"))


def test_it_is_the_model_of_the_run_wherever_a_checkpoint_is_taken(shared: Path, tmp_path: Path) -> None:
    checkpoint = shared.parent / "run" / "checkpoints" / "best.ckpt"
    given, epoch = load_model(checkpoint)
    flat = tmp_path / "flat.zip"  # made by hand, without the folder
    with zipfile.ZipFile(flat, "w") as archive:
        for name, content in contents(shared).items():
            archive.writestr(name, content)
    for place in (shared, shared.with_name("liver.zip"), flat):
        module, of = load_model(place)
        assert (of, module.threshold) == (epoch, 90)
        assert json.dumps(module.training_range) == json.dumps(given.training_range)
        assert module.settings == given.settings and not module.training
        assert all(torch.equal(value, given.state_dict()[key]) for key, value in module.state_dict().items())
        assert model_hash(place) == model_hash(checkpoint) == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
        assert chaos_seg.load(str(place)).preprocessing == given.preprocessing
        export(place, tmp_path / "model.onnx")
        assert (tmp_path / "model.onnx").read_bytes() == (shared / "model.onnx").read_bytes()


def test_its_promise_is_the_runs(shared: Path) -> None:
    checkpoint = shared.parent / "run" / "checkpoints" / "best.ckpt"
    raw = {"largest_component": False, "fill_holes": False}
    of_run = held_out([checkpoint], 90, raw, [[0, 1]])
    assert of_run and held_out([shared], 90, raw, [[0, 1]]) == of_run
    assert held_out([shared.with_name("liver.zip")], 90, raw, [[0, 1]]) == of_run
    assert held_out([shared, shared.with_name("liver.zip")], 90, raw, [[0, 1]]) == []  # who of one is who of the other?


def test_training_begins_with_it_and_its_scores_are_the_runs(
    shared: Path, configure: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained = segmenter_of(completed(configure("preprocessing=soft_tissue")))
    facts = begin_with(untrained, shared.with_name("liver.zip"), freeze_encoder=False)
    assert (facts["sha256"], facts["left"]) == (model_hash(shared), {})
    trained = load_model(shared)[0].state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in untrained.state_dict().items())
    run = shared.parent / "run"
    given = [f"run={run}", f"checkpoint={shared}", f"output={tmp_path / 'scores'}", "device=cpu"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *given])
    evaluate_door.main()
    assert (tmp_path / "scores" / "per_patient.csv").read_bytes() == (run / "per_patient.csv").read_bytes()
    assert not list((tmp_path / "scores" / "figures").glob("*loss*"))  # no curves of a training that was another's


def test_what_monai_can_not_hold_is_left_out_and_named(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A preprocessing that the bundle's network does not know."""

    class Other:
        def __init__(self, image_size: int, level_hu: float, width_hu: float):
            self.window = PREPROCESSINGS._entries["window"](image_size, level_hu, width_hu)

        def __getattr__(self, name: str) -> object:
            return getattr(self.window, name)

    PREPROCESSINGS["window"]  # fills the slot
    monkeypatch.setitem(PREPROCESSINGS._entries, "other", Other)
    run = Path(shutil.copytree(shared.parent / "run", tmp_path / "run"))
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    options = {
        key: checkpoint["hyper_parameters"]["preprocessing"][key] for key in ("image_size", "level_hu", "width_hu")
    }
    checkpoint["hyper_parameters"]["preprocessing"] = {"name": "other", **options}
    torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
    monkeypatch.setattr(sys, "argv", ["share", f"run={run}", f"output={tmp_path / 'mine'}"])
    share_door.main()
    options = checkpoint["hyper_parameters"]["preprocessing"]
    reason = "A MONAI bundle: expected the preprocessing window of one slice, without a crop, found "
    reason += f"{options}; it is left out."
    assert (
        reason in capsys.readouterr().out and f"- `bundle/`: {reason}" in (tmp_path / "mine" / "README.md").read_text()
    )
    assert not (tmp_path / "mine" / "bundle").exists()
