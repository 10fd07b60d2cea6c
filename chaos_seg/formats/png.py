"""Masks as the challenge takes them: an 8-bit PNG a slice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_png(mask: Sequence[np.ndarray] | np.ndarray, folder: Path) -> None:
    """img000.png, img001.png, ... in `folder`: 8-bit, 255 where `mask`, slices of (rows, columns), is true."""
    folder.mkdir(parents=True)
    for rank, plane in enumerate(mask):
        Image.fromarray(plane.astype(np.uint8) * 255).save(folder / f"img{rank:03d}.png")
