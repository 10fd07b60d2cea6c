"""Masks as the challenge takes them: an 8-bit PNG a slice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from chaos_seg.data.scan import Scan
from chaos_seg.inference.formats import Writer
from chaos_seg.registry import FORMATS


@FORMATS.register("png")
def png(scan: Scan) -> Writer:
    """png/img000.png, ..."""
    return Writer(lambda mask, folder: write_png(mask, folder / "png"))


@FORMATS.register("challenge")
def challenge(scan: Scan) -> Writer:
    """Results/img000.png, ..., as the challenge has it."""
    return Writer(lambda mask, folder: write_png(mask, folder / "Results"))


def write_png(mask: Sequence[np.ndarray] | np.ndarray, folder: Path) -> None:
    """img000.png, img001.png, ... in `folder`, in as many digits as sort by name: 8-bit, 255 where `mask`, slices of
    (rows, columns), is true.
    """
    folder.mkdir(parents=True)
    digits = max(3, len(str(len(mask) - 1)))
    for rank, plane in enumerate(mask):
        Image.fromarray(plane.astype(np.uint8) * 255).save(folder / f"img{rank:0{digits}d}.png")
