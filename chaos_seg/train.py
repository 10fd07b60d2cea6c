"""Train one model and score it: python -m chaos_seg.train loss=iou"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("train")  # before the imports that take seconds

import logging
import shlex
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from chaos_seg.command_line import command, hydra_command
from chaos_seg.config import TrainConfig, checked
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.reopened import keeping_the_models, stopped_before
from chaos_seg.run_folder import RunFolder
from chaos_seg.run_settings import literal

log = logging.getLogger(__name__)


def _resumed(ckpt_path: str, overrides: list[str]) -> TrainConfig:
    """The settings of the run that `ckpt_path` belongs to, with `overrides` (KEY=VALUE) on top."""
    run = RunFolder.of_checkpoint(ckpt_path)
    if not run.exists:
        raise UserError(
            f"ckpt_path={ckpt_path}: expected <run folder>/checkpoints/last.ckpt, found no {run.config}; name the "
            "checkpoint in the folder of the run to resume."
        )
    changes = OmegaConf.create()
    for override in OverridesParser.create().parse_overrides(overrides):
        OmegaConf.update(changes, override.get_key_element().lstrip("+"), override.value())
    try:
        return checked(TrainConfig, OmegaConf.merge(literal(run.settings()), changes))
    except UserError as error:
        raise UserError(f"{error} A resumed run takes single settings only, such as epochs=800.") from None


@hydra_command("train")
def main(cfg: DictConfig) -> None:
    config = checked(TrainConfig, cfg)
    context = HydraConfig.get()
    if context.mode == RunMode.MULTIRUN and (config.ckpt_path or config.trainer.devices != 1):
        raise UserError(
            "--multirun: expected one device and no ckpt_path, since several processes would each start the sweep; "
            "run the jobs one by one."
        )
    typed, folder = cast(list[str], OmegaConf.to_container(context.overrides.task)), Path(context.runtime.output_dir)
    resumed = config.ckpt_path is not None
    config = _resumed(str(config.ckpt_path), typed) if resumed else keeping_the_models(config, typed)
    if not resumed and context.mode == RunMode.RUN and (stopped := stopped_before(config, folder)):
        log.info("A run with these settings was stopped. To go on with it: %s", command("train", f"resume={stopped}"))
    if train(config, folder) and context.mode == RunMode.RUN:
        best = RunFolder(folder).checkpoint("best")
        log.info("Curves: tensorboard --logdir %s", shlex.quote(str(folder)))
        log.info("Masks:  %s", command("predict", f"ckpt={best}", "input=SCANS", "output=MASKS"))


if __name__ == "__main__":
    main()
