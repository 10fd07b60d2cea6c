"""Predict the challenge's test patients and pack their masks as it wants them.

python -m chaos_seg.submit run=outputs/paper/<run> output=submission
"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("submit")  # before the imports that take seconds

import logging
import shutil
from pathlib import Path

from omegaconf import DictConfig

from chaos_seg.command_line import hydra_command
from chaos_seg.config import SubmitConfig, checked
from chaos_seg.data.sources.chaos import find_patients
from chaos_seg.data.store import open_volumes
from chaos_seg.errors import UserError
from chaos_seg.files import expect_new_folder
from chaos_seg.inference.choices import chosen_device, chosen_largest
from chaos_seg.inference.predictor import Predictor
from chaos_seg.inference.submission import completeness, pack, predict_test_set
from chaos_seg.reopened import settings_of
from chaos_seg.run_folder import RunFolder
from chaos_seg.training.checkpoints import load_model

log = logging.getLogger(__name__)


@hydra_command("submit")
def main(cfg: DictConfig) -> None:
    config = checked(SubmitConfig, cfg)
    run, output = RunFolder(Path(config.run)), Path(config.output)
    archive = output.with_name(f"{output.name}.zip")
    if archive.exists():
        raise UserError(f"{archive}: expected a new file, found one; name another output=FOLDER.")
    expect_new_folder(output)
    trained = settings_of(run, config.root, config.store)
    root = trained.data.open().root
    folders = [p for p in find_patients(root).values() if p.dicom_dir.parent.parent.parent.name == "Test_Sets"]
    if not folders:
        raise UserError(f"{root}: expected Test_Sets/CT/<id>/DICOM_anon below it, found none; see chaos_seg.prepare.")
    model, _ = load_model(run.checkpoint(config.checkpoint))
    predictor = Predictor([model], chosen_device(config.device))
    threshold = model.threshold if config.threshold is None else config.threshold
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    volumes = open_volumes(Path(trained.data.store), folders)
    largest = chosen_largest([model], config.largest_component)
    predict_test_set(volumes, predictor, threshold, largest, partial)
    if output.exists():
        output.rmdir()
    partial.rename(output)
    log.info("%d patients in %s", len(volumes), output / "Task2" / "CT")
    if lacking := completeness([volume.name for volume in volumes]):
        raise UserError(
            f"{output}: not packed, for {'; '.join(lacking)}. Put them below {root}/Test_Sets/CT and run again."
        )
    pack(output, archive)
    log.info("Submission: %s", archive)


if __name__ == "__main__":
    main()
