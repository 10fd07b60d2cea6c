"""A run's model as a folder to hand on: weights, ONNX, a MONAI bundle, a card, checksums and a proof.

python -m chaos_seg.share run=outputs/paper/<run> output=FOLDER
"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("share")  # before the imports that take seconds

import logging
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig

from chaos_seg.command_line import hydra_command
from chaos_seg.config import ShareConfig, checked
from chaos_seg.run_folder import RunFolder
from chaos_seg.sharing.folder import share

log = logging.getLogger(__name__)


@hydra_command("share")
def main(cfg: DictConfig) -> None:
    config = checked(ShareConfig, cfg)
    run, output = RunFolder(Path(config.run)), Path(config.output)
    proved = share(run, run.checkpoint(config.checkpoint), output, asdict(config.stated))
    log.info("%s\nTo hand on: %s or %s.zip; its card, README.md, says what nobody stated", proved, output, output)


if __name__ == "__main__":
    main()
