"""From nothing, or from the zips, to audited and decoded data: python -m chaos_seg.prepare data.root=/path/to/CHAOS"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("prepare")  # before the imports that take seconds

import logging
import shlex
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from tqdm.contrib.logging import logging_redirect_tqdm

from chaos_seg.command_line import hydra_command
from chaos_seg.config import PrepareConfig, checked
from chaos_seg.data.sources.challenge import bring
from chaos_seg.errors import UserError
from chaos_seg.reporting.audit_report import audit_source

log = logging.getLogger(__name__)


def prepare(config: PrepareConfig, folder: Path) -> int:
    """Bring the challenge's CT below data.root, then decode and audit it; the audit goes to `folder`. Other sources are
    there already.

    Returns:
        How many errors the audit found.
    """
    data = config.data
    name, root = data.source["name"], data.root
    if name == "chaos":
        if root is None:
            raise UserError(
                "No data root: set data.root=FOLDER or the environment variable CHAOS_ROOT to the folder that the data "
                "shall go to, or try the built-in phantom with data=phantom."
            )
        bring(Path(root), config.zips(), config.downloads, config.overwrite)
    source = data.open()
    errors = audit_source(source, Path(data.store), lambda: data.divided(source), folder)
    if not errors:
        said = {f"data={name}": name != "chaos", f"data.root={root}": root is not None}
        settings = [setting for setting, told in said.items() if told]
        log.info("Ready: python -m chaos_seg.train %s", shlex.join(settings))
    return errors


@hydra_command("prepare")
def main(cfg: DictConfig) -> None:
    config = checked(PrepareConfig, cfg)
    with logging_redirect_tqdm():
        errors = prepare(config, Path(HydraConfig.get().runtime.output_dir))
    if errors:
        sys.exit(1)


if __name__ == "__main__":
    main()
