"""A CT slice with the true and the predicted liver: outlines, what is wrong shaded, sides and a scale."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chaos_seg.data.measures import FAT_HU
from chaos_seg.data.preprocessing import window
from chaos_seg.data.scan import Scan
from chaos_seg.files import atomic_file

LEVEL_HU, WIDTH_HU = 40, 400  # abdominal soft tissue
TRUE_RGB, PREDICTED_RGB = (86, 180, 233), (230, 159, 0)  # sky blue and orange of Okabe and Ito
SHADE = 0.3  # of a colour over the grey
BARS_MM = (50, 10)  # the first that takes less than half of a picture


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
    """Outline true (blue) and predicted (orange) masks on a slice; where only one of them lies is shaded in its colour.

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
    masks = [np.kron(mask.astype(bool), np.ones((factor, factor), bool)) for mask in (true, predicted)]
    for mask, other, colour in zip(masks, masks[::-1], (TRUE_RGB, PREDICTED_RGB), strict=True):
        alone = mask & ~other
        picture[alone] = np.rint((1 - SHADE) * picture[alone] + SHADE * np.array(colour)).astype(np.uint8)
    for mask, colour in zip(masks, (TRUE_RGB, PREDICTED_RGB), strict=True):
        enlarged: Any = mask.astype(np.uint8)
        contours, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1)
    return picture


def slice_picture(scan: Scan, hu: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """overlay() of a slice of a scan, cut to the body and wherever a mask lies, with its sides and a scale."""
    picture = overlay(hu, true, predicted)
    factor = picture.shape[0] // hu.shape[0]
    either, box = (true != 0) | (predicted != 0), []
    for axis, body in enumerate(body_box(hu)):
        places = [body.start, body.stop - 1, *np.flatnonzero(either.any(axis=1 - axis)).tolist()]
        box.append(slice(min(places) * factor, (max(places) + 1) * factor))
    return marked(np.ascontiguousarray(picture[box[0], box[1]]), scan, factor)


def marked(picture: np.ndarray, scan: Scan, factor: int) -> np.ndarray:
    """`picture`, a part of a slice enlarged `factor` times, with the patient's sides at its edges and a scale."""
    height, width = picture.shape[:2]
    size = max(0.35, min(height, width) / 700)
    left, right = _sides(scan.column_mm)
    top, bottom = _sides(scan.row_mm)
    for text, x, y in ((left, 0.02, 0.5), (right, 0.95, 0.5), (top, 0.49, 0.05), (bottom, 0.49, 0.98)):
        _write(picture, text, (int(x * width), int(y * height)), size)
    across = float(np.linalg.norm(scan.column_mm))
    for bar_mm in BARS_MM:
        length = round(bar_mm / across * factor)
        if length < width / 2:
            x, y = int(0.03 * width), int(0.95 * height)
            for colour, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
                cv2.line(picture, (x, y), (x + length, y), colour, thickness)
            _write(picture, f"{bar_mm // 10} cm", (x, y - 8), 0.8 * size)
            break
    return picture


def _sides(step_mm: np.ndarray) -> tuple[str, str]:
    """The patient's side where a row or column begins, and the one where it ends."""
    axis = int(np.argmax(np.abs(step_mm)))
    low, high = ("RL", "AP", "FH")[axis]
    return (low, high) if step_mm[axis] > 0 else (high, low)


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: float) -> None:
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thickness, cv2.LINE_AA)


def draw_slice(scan: Scan, rank: int, true: np.ndarray, predicted: np.ndarray, title: str, path: Path) -> Path:
    """Save the picture of a slice, 768 pixels wide, below a title of up to two lines and above a legend."""
    picture = slice_picture(scan, scan.hu(rank), true, predicted)
    height = round(768 * picture.shape[0] / picture.shape[1])
    page = Image.new("RGB", (780, height + 150), "white")
    page.paste(Image.fromarray(picture).resize((768, height), Image.Resampling.BILINEAR), (6, 74))
    letters = Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")  # of more names than Pillow's
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(letters, 21)
    pen.multiline_text((6, 66), title, "black", font, anchor="ld")
    for left, colour, label in (
        (100, TRUE_RGB, "true, shaded: missed"),
        (422, PREDICTED_RGB, "predicted, shaded: added"),
    ):
        pen.line((left, height + 102, left + 42, height + 102), colour, width=3)
        pen.text((left + 58, height + 102), label, "black", font, anchor="lm")
    with atomic_file(path) as file:
        page.save(file, "png")
    return path
