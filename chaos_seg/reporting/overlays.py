"""A CT slice with the true and the predicted outline of the liver."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chaos_seg.data.measures import FAT_HU
from chaos_seg.data.preprocessing import window
from chaos_seg.files import atomic_file

LEVEL_HU, WIDTH_HU = 40, 400  # abdominal soft tissue
TRUE_RGB, PREDICTED_RGB = (86, 180, 233), (230, 159, 0)  # sky blue and orange of Okabe and Ito


def body_box(hu: np.ndarray, margin: int = 4) -> tuple[slice, slice]:
    """Rows and columns of a slice in which more than 2 % are denser than fat, and a margin; all when there are none."""
    body_places = [np.flatnonzero((hu > FAT_HU).mean(axis=axis) > 0.02) for axis in (1, 0)]
    if not all(len(places) for places in body_places):
        return slice(0, hu.shape[0]), slice(0, hu.shape[1])
    rows, columns = (
        slice(max(int(places[0]) - margin, 0), min(int(places[-1]) + 1 + margin, size))
        for places, size in zip(body_places, hu.shape, strict=True)
    )
    return rows, columns


def overlay(hu: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Outline true (blue) and predicted (orange) masks on a slice.

    Args:
        hu: (rows, columns).
        true, predicted: boolean or {0, 1}, (rows, columns).

    Returns:
        uint8 RGB, enlarged to at least 512 rows, so that outlines stay thin.
    """
    factor = max(1, -(-512 // hu.shape[0]))
    grey = np.rint((window(hu, LEVEL_HU, WIDTH_HU) + 1) * 127.5).astype(np.uint8)
    large = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    picture = np.repeat(np.asarray(large)[..., None], 3, axis=2)
    for mask, colour in ((true, TRUE_RGB), (predicted, PREDICTED_RGB)):
        enlarged: Any = np.kron(mask.astype(np.uint8), np.ones((factor, factor), np.uint8))
        contours, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1)
    return picture


def draw_slice(hu: np.ndarray, true: np.ndarray, predicted: np.ndarray, title: str, path: Path) -> Path:
    """Save the overlay, cut to the body and 768 pixels wide, below a title of up to two lines and above a legend."""
    picture, (rows, columns) = overlay(hu, true, predicted), body_box(hu)
    factor = picture.shape[0] // hu.shape[0]
    body = picture[rows.start * factor : rows.stop * factor, columns.start * factor : columns.stop * factor]
    height = round(768 * body.shape[0] / body.shape[1])
    page = Image.new("RGB", (780, height + 150), "white")
    page.paste(Image.fromarray(body).resize((768, height), Image.Resampling.BILINEAR), (6, 74))
    letters = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")  # of more names than Pillow's
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(letters, 21)
    pen.multiline_text((6, 66), title, "black", font, anchor="ld")
    for left, colour, label in ((160, TRUE_RGB, "true outline"), (382, PREDICTED_RGB, "predicted outline")):
        pen.line((left, height + 102, left + 42, height + 102), colour, width=3)
        pen.text((left + 58, height + 102), label, "black", font, anchor="lm")
    with atomic_file(path) as file:
        page.save(file, "png")
    return path
