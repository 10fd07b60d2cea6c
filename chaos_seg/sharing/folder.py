"""A run's model as a folder to hand on, and as its zip."""

import logging
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from chaos_seg.errors import UserError
from chaos_seg.files import atomic_file, read_csv, write_bytes, write_csv
from chaos_seg.inference.onnx import export, metadata
from chaos_seg.networks.model import Model
from chaos_seg.reporting.model_card import Described, model_card
from chaos_seg.reporting.runs import Run, read_runs
from chaos_seg.run_folder import RunFolder
from chaos_seg.sharing.bundle import slice_network, write_bundle
from chaos_seg.sharing.check import MASK, SLICE, prove, write_check
from chaos_seg.training.checkpoints import load_model, model_hash, read_checkpoint
from chaos_seg.training.shared import CONFIG, HELD_OUT, SUMS, WEIGHTS, write_shared_checkpoint, write_sums

log = logging.getLogger(__name__)

FILES = {
    WEIGHTS: "the weights, without pickle",
    CONFIG: "network, preprocessing and threshold, with which `chaos_seg` loads the weights",
    "model.onnx": "the network for onnxruntime; its metadata says how to make its input",
    "bundle/": "the model as a MONAI bundle",
    f"{SLICE}, {MASK}": "a synthetic slice, and the mask that the model gives of it",
    HELD_OUT: "of each patient held out, by number, the Dice guessed and reached: what `predict` promises rests on it",
    SUMS: "checksums of all of these: `sha256sum -c SHA256SUMS`",
}


def share(run: RunFolder, checkpoint: Path, output: Path, stated: Mapping[str, str | None]) -> str:
    """Write `output`, a new folder, and `output`.zip, once the model in the folder was seen to give its masks.

    Returns:
        What was proved, in a sentence.

    Raises:
        UserError: no finished run, something in the way, no package onnx, or a network that ONNX or MONAI can't hold.
    """
    archive = output.with_name(f"{output.name}.zip")
    for path in (output, archive):
        if path.exists():
            raise UserError(f"{path}: expected nothing of this name, found something; name another output=FOLDER.")
    (finished,) = read_runs([run.path])
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, finished, checkpoint, output.name, stated)
        proved = prove(partial, torch.device("cpu")).replace(str(partial), str(output))
        with atomic_file(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
            for path in sorted(path for path in partial.rglob("*") if path.is_file()):
                target.write(path, Path(output.name) / path.relative_to(partial))
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return proved


def _write(folder: Path, run: Run, checkpoint: Path, name: str, stated: Mapping[str, str | None]) -> None:
    model, epoch = load_model(checkpoint)
    write_shared_checkpoint(folder, read_checkpoint(checkpoint), model_hash(checkpoint))
    graph, files = None, dict(FILES)
    if (kept := RunFolder(run.folder).held_out).is_file() and run.summary["checkpoint"] == checkpoint.name:
        rows = read_csv(kept)
        numbers = {patient: number for number, patient in enumerate(dict.fromkeys(row["patient"] for row in rows), 1)}
        write_csv(folder / HELD_OUT, [{**row, "patient": numbers[row["patient"]]} for row in rows])
    else:  # of another checkpoint, or of a run that was scored before there was one
        files.pop(HELD_OUT)
    log.info("The network as ONNX, and its masks by onnxruntime")
    export(checkpoint, folder / "model.onnx")
    log.info("A synthetic slice and its mask")
    hu, mask = write_check(folder, model)
    log.info("A MONAI bundle, and its mask by TorchScript")
    try:
        graph = slice_network(model, hu, mask)
    except UserError as reason:
        log.warning("%s", reason)
        files["bundle/"] = str(reason)
    card = model_card(run, _described(model, epoch, model_hash(checkpoint), name), stated, files)
    write_bytes(folder / "README.md", card.encode())
    said = {
        "description": metadata(model, epoch)["description"] + " Not a medical device.",
        "authors": stated["developed_by"] or "Not stated.",
        "copyright": stated["license"] or "License of the weights: Not stated.",
        "data_source": stated["data"] or "Not stated.",
        "intended_use": stated["uses"] or "Research. Not a medical device.",
        "eval_metrics": {"volume_dice": run.summary["averages"]["volume_dice"]},
    }
    if graph is not None:
        write_bundle(folder / "bundle", graph, model, name, card, said)
    write_sums(folder)


def _described(model: Model, epoch: int, sha256: str, name: str) -> Described:
    said = metadata(model, epoch)
    return Described(
        name=name,
        network=model.settings["network"],
        parameters=sum(value.numel() for value in model.net.parameters()),
        sha256=sha256,
        epoch=epoch,
        threshold=model.threshold,
        input=said["preprocessing"].splitlines(),
        output=said["postprocessing"].splitlines(),
        training_range=model.training_range,
    )
