"""From CT scans to masks that other tools open: DICOM folders, CHAOS trees and NIfTI in; PNG, NIfTI and DICOM-SEG out.

python -m chaos_seg.predict ckpt=outputs/paper/<run>/checkpoints/best.ckpt input=FOLDER output=FOLDER
"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("predict")  # before the imports that take seconds

import logging
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from omegaconf import DictConfig

from chaos_seg.command_line import hydra_command
from chaos_seg.config import PredictConfig, checked
from chaos_seg.data.scans import choose, find_scans
from chaos_seg.errors import UserError
from chaos_seg.inference.choices import chosen_device, common_modality, common_threshold, expect_temperatures
from chaos_seg.inference.formats import changed_options
from chaos_seg.inference.one_file import OneFile
from chaos_seg.inference.outputs import Recipe, closing_words, held, predict, write_summaries
from chaos_seg.inference.predictor import Predictor
from chaos_seg.sharing.check import prove
from chaos_seg.training.checkpoints import load_segmenter, model_hash

log = logging.getLogger(__name__)


@hydra_command("predict")
def main(cfg: DictConfig) -> None:
    config = checked(PredictConfig, cfg)
    if config.check:
        for path in config.checkpoints():
            log.info("%s", prove(Path(path), chosen_device(config.device)))
        return
    source, output = Path(str(config.input)), Path(str(config.output))
    file = OneFile.named(output, config.formats)
    names = [file.format] if file else config.formats
    options = changed_options(names, config.format)
    if output.resolve().is_relative_to(source.resolve()) and source.is_dir():
        raise UserError(f"output={output}: expected a folder outside of the input, which is never written to.")
    models = [load_segmenter(Path(path))[0] for path in config.checkpoints()]
    recipe = Recipe(
        models=[model_hash(Path(path)) for path in config.checkpoints()],
        threshold=common_threshold(models) if config.threshold is None else config.threshold,
        postprocess=asdict(config.postprocess),
        rotations_deg=list(config.tta.rotations_deg),
        formats=names,
        alarms=config.alarms,
        chaos_seg=version("chaos_seg"),
        format=options,
    )
    expect_temperatures(models, config.checkpoints(), options)
    predictor = Predictor(models, chosen_device(config.device), config.batch_size, config.tta.rotations_deg)
    place = file.place if file else output
    with held(place, keep=file is None) as unpacked:
        search = find_scans(source, unpacked, modality=common_modality(models))
        for reason in search.reasons():
            log.warning("%s", reason)
        chosen = choose(search.scans, config.names())
        if file is not None:
            file.expect_one(chosen)
        outcomes = predict(chosen, predictor, recipe, place)
        write_summaries(search, outcomes, place)
        if file is not None:
            file.take(outcomes)
    closing_words(search, outcomes, output)


if __name__ == "__main__":
    main()
