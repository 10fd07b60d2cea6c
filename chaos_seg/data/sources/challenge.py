"""The challenge's data, brought to its place: from zips that are there, or downloaded."""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from chaos_seg.data.sources.archive import Archive, unpack, unpacked
from chaos_seg.data.sources.download import download

log = logging.getLogger(__name__)

LICENCE = (
    "The CHAOS data is licensed CC BY-NC-SA 4.0 (creativecommons.org/licenses/by-nc-sa/4.0): name its authors, no "
    "commercial use, share alike. Cite Kavur et al., CHAOS Challenge, Medical Image Analysis 69 (2021) 101950, and "
    "doi.org/10.5281/zenodo.3362844."
)


def bring(root: Path, zips: Sequence[Path], downloads: Sequence[Archive], overwrite: bool) -> None:
    """Unpack the given archives below `root`, or else those of the challenge, which are downloaded first.

    Raises:
        UserError: anything wrong with the archives, the connection or the place.
    """
    log.info(LICENCE)
    there = list(zips)
    if not there:
        for archive in downloads:
            path = root / "downloads" / PurePosixPath(urlsplit(archive.url).path).name
            if unpacked(root, archive):
                log.info("%s: unpacked already.", path.name)
            else:
                log.info("%s (%.2f GB)", archive.url, archive.bytes / 1e9)
                download(archive, path)
                there.append(path)
    for path in there:
        patients = unpack(path, root, overwrite)
        log.info("%s: %d CT patients in %s.", path.name, len(patients), root)
