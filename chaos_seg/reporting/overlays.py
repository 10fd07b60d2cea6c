"""A CT slice with the true and the predicted outline of the liver."""

from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chaos_seg.data.measures import FAT_HU
from chaos_seg.data.preprocessing import window
from chaos_seg.reporting.curves import STYLE, save_figure

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
    """Save the overlay, cut to the body, with a title and a legend."""
    picture, (rows, columns) = overlay(hu, true, predicted), body_box(hu)
    factor = picture.shape[0] // hu.shape[0]
    picture = picture[rows.start * factor : rows.stop * factor, columns.start * factor : columns.stop * factor]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 1.1 + 5 * picture.shape[0] / picture.shape[1]), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(picture, interpolation="antialiased")
        axes.set_axis_off()
        axes.set_title(title, fontsize=10, loc="left")
        lines = [
            Line2D([], [], color=to_hex((colour[0] / 255, colour[1] / 255, colour[2] / 255)), label=label)
            for colour, label in ((TRUE_RGB, "true outline"), (PREDICTED_RGB, "predicted outline"))
        ]
        axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2)
        return save_figure(figure, path)
