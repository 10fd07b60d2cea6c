"""From nothing, or from the zips, to audited and decoded data: python -m chaos_seg.prepare data.root=/path/to/CHAOS"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("prepare")  # before the imports that take seconds

import logging
import shlex
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from tqdm.contrib.logging import logging_redirect_tqdm

from chaos_seg.command_line import hydra_command
from chaos_seg.config import PrepareConfig, checked
from chaos_seg.data.sources.archive import download, unpack, unpacked
from chaos_seg.errors import UserError
from chaos_seg.reporting.audit_report import audit_source

log = logging.getLogger(__name__)

LICENCE = (
    "The CHAOS data is licensed CC BY-NC-SA 4.0 (creativecommons.org/licenses/by-nc-sa/4.0): name its authors, no "
    "commercial use, share alike. Cite Kavur et al., CHAOS Challenge, Medical Image Analysis 69 (2021) 101950, and "
    "doi.org/10.5281/zenodo.3362844."
)


def prepare(config: PrepareConfig, folder: Path) -> int:
    """Bring the data below data.root, then decode and audit it; the audit goes to `folder`.

    Returns:
        How many errors the audit found.

    Raises:
        UserError: anything wrong with the archives, the connection or the place.
    """
    made = config.data.source["name"] == "phantom"
    if not made:
        if config.data.root is None:
            raise UserError(
                "No data root: set data.root=FOLDER or the environment variable CHAOS_ROOT to the folder that the data "
                "shall go to, or try the built-in phantom with data=phantom."
            )
        _fill(Path(config.data.root), config)
    source = config.data.open()
    errors = audit_source(source, Path(config.data.store), lambda: config.data.divided(source), folder)
    if not errors:
        place = "data=phantom" if made else f"data.root={config.data.root}"
        log.info("Ready: python -m chaos_seg.train %s", shlex.quote(place))
    return errors


def _fill(root: Path, config: PrepareConfig) -> None:
    """Unpack the given archives below `root`, or else those of the challenge, which are downloaded first."""
    log.info(LICENCE)
    zips = config.zips()
    if not zips:
        for archive in config.downloads:
            path = root / "downloads" / PurePosixPath(urlsplit(archive.url).path).name
            if unpacked(root, archive):
                log.info("%s: unpacked already.", path.name)
            else:
                log.info("%s (%.2f GB)", archive.url, archive.bytes / 1e9)
                download(archive, path)
                zips.append(path)
    for path in zips:
        patients = unpack(path, root, config.overwrite)
        log.info("%s: %d CT patients in %s.", path.name, len(patients), root)


@hydra_command("prepare")
def main(cfg: DictConfig) -> None:
    config = checked(PrepareConfig, cfg)
    with logging_redirect_tqdm():
        errors = prepare(config, Path(HydraConfig.get().runtime.output_dir))
    if errors:
        sys.exit(1)


if __name__ == "__main__":
    main()
