"""Several experiments as one study that can be stopped and started again: python -m chaos_seg.study study=demo"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("study")  # before the imports that take seconds

import shlex
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from chaos_seg.command_line import hydra_command
from chaos_seg.config import TrainConfig, checked
from chaos_seg.errors import UserError
from chaos_seg.files import write_json
from chaos_seg.reopened import keeping_the_models, run_once
from chaos_seg.reporting.study_view import StudyProgress, study_table
from chaos_seg.run_folder import RunFolder


@hydra_command("study")
def _job(cfg: DictConfig) -> None:
    run = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    try:
        config = checked(TrainConfig, cfg)
        if config.ckpt_path is not None or config.trainer.devices != 1:
            raise UserError("study: expected one device a run and no ckpt_path; a study resumes its runs by itself.")
        typed = cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task))
        run_once(keeping_the_models(config, typed), run.path)
    except UserError as error:
        if run.status is None:  # refused before it began: the table at the end has it too
            write_json(run.manifest_file, {"status": "failed", "error": str(error), "seconds": None})
        raise


def main() -> None:
    try:
        _job()
    finally:  # also when a run failed, which Hydra reports by then
        if (study := StudyProgress.study) is not None and (table := study_table(study)):
            print(f"\n{table}\n\nIts report: python -m chaos_seg.report {shlex.quote(str(study))}")


if __name__ == "__main__":
    main()
