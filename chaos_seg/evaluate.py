"""Score a model on whole patients at the masks' own resolution: tables, predicted masks and figures.

python -m chaos_seg.evaluate run=outputs/paper/<run>
"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("evaluate")  # before the imports that take seconds

import logging
from pathlib import Path

from omegaconf import DictConfig

from chaos_seg.command_line import hydra_command
from chaos_seg.config import EvaluateConfig, checked
from chaos_seg.data.audit import audit
from chaos_seg.errors import UserError
from chaos_seg.files import expect_new_folder
from chaos_seg.inference.choices import chosen_device
from chaos_seg.inference.predictor import Predictor
from chaos_seg.reopened import open_run
from chaos_seg.run_folder import RunFolder
from chaos_seg.scoring.run import score_run
from chaos_seg.training.checkpoints import keep_chosen, load_model

log = logging.getLogger(__name__)


@hydra_command("evaluate")
def main(cfg: DictConfig) -> None:
    config = checked(EvaluateConfig, cfg)
    run = RunFolder(Path(config.run))
    if config.output is not None:
        expect_new_folder(Path(config.output))
    trained, sides, data_hash = open_run(run, config.root, config.store)
    manifest = run.manifest()
    other = {
        f"data with fingerprint {data_hash[:12]}": data_hash != manifest["data"]["fingerprint"],
        f"threshold={config.threshold}": config.threshold is not None,
        f"checkpoint={config.checkpoint}": config.checkpoint != "best",
        f"a run that is {manifest['status']}": manifest["status"] == "running",
    }
    if config.output is None and any(other.values()):
        raise UserError(
            f"{run.path}: its own tables are those of its best checkpoint, its threshold and its data; name another "
            f"folder for the scores of {', '.join(what for what, differs in other.items() if differs)} with "
            "output=FOLDER."
        )
    if data_hash != manifest["data"]["fingerprint"]:  # no training has looked at it
        scans = [scan for of_side in sides.values() for scan in of_side]
        for finding in audit(scans, run.split().sides)[1]:
            if finding.level == "error":
                log.warning("Audit error %s, patient %s: %s", finding.code, finding.patient, finding.text)
    own = config.checkpoint in ("best", "last")
    checkpoint = run.checkpoint(config.checkpoint) if own else Path(config.checkpoint)
    model, epoch = load_model(checkpoint)
    output = RunFolder(Path(config.output)) if config.output else run
    predictor = Predictor([model], chosen_device(config.device), trained.batch_size)
    threshold = model.threshold if config.threshold is None else config.threshold
    summary = score_run(run if own else output, predictor, (checkpoint.name, epoch), sides, output, threshold)
    if own and config.output is None:
        keep_chosen(checkpoint, summary)


if __name__ == "__main__":
    main()
