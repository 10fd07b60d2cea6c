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
from chaos_seg.inference import choices
from chaos_seg.inference.formats import changed_options
from chaos_seg.inference.one_file import OneFile, expect_one, take_file
from chaos_seg.inference.outputs import UNPACKED, Recipe, held, predict
from chaos_seg.inference.predictor import Predictor
from chaos_seg.inference.promise import held_out
from chaos_seg.inference.summaries import closing_words, say_left_out, write_summaries
from chaos_seg.sharing.check import prove
from chaos_seg.training.checkpoints import load_model, model_hash

log = logging.getLogger(__name__)


@hydra_command("predict")
def main(cfg: DictConfig) -> None:
    config = checked(PredictConfig, cfg)
    if config.check:
        log.info("\n".join(prove(Path(path), choices.chosen_device(config.device)) for path in config.checkpoints()))
        return
    source, output = Path(str(config.input)), Path(str(config.output))
    file = OneFile.named(output, config.formats)
    names = [file.format] if file else config.formats
    options = changed_options(names, config.format)
    if output.resolve().is_relative_to(source.resolve()) and source.is_dir():
        raise UserError(f"output={output}: expected a folder outside of the input, which is never written to.")
    models = [load_model(Path(path))[0] for path in config.checkpoints()]
    threshold = choices.common_threshold(models) if config.threshold is None else config.threshold
    config.postprocess.largest_component = choices.chosen_largest(models, config.postprocess.largest_component)
    postprocess, views = asdict(config.postprocess), config.tta.views()
    recipe = Recipe(
        models=[model_hash(Path(path)) for path in config.checkpoints()],
        threshold=threshold,
        postprocess=postprocess,
        views=views,
        formats=names,
        alarms=config.alarms,
        held_out=held_out(config.checkpoints(), threshold, postprocess, views),
        chaos_seg=version("chaos_seg"),
        format=options,
    )
    choices.expect_temperatures(models, config.checkpoints(), options)
    predictor = Predictor(models, choices.chosen_device(config.device), config.batch_size, views)
    with held(file.place if file else output, keep=file is None) as place:
        search = find_scans(source, place / UNPACKED, modality=choices.common_modality(models))
        say_left_out(search)
        outcomes = predict(expect_one(file, choose(search.scans, config.names())), predictor, recipe, place)
        write_summaries(search, outcomes, predictor.trained_on, place)
        take_file(file, outcomes)
    closing_words(search, outcomes, output)


if __name__ == "__main__":
    main()
