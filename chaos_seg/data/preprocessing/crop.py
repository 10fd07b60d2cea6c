"""Where the body is in a slice."""

import cv2
import numpy as np

BODY_HU, MARGIN, COARSE = -300, 1.1, 4
CROP_IN_WORDS = (
    f"The body is the largest connected area above {BODY_HU} HU in every {COARSE}th row and column; about its box's "
    f"middle lies the square {MARGIN} times as wide as its longer side, moved inside the slice (all of a slice that is "
    "too small for it)"
)


def body_square(hu: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a square about the body in a slice of HU (rows, columns); all where there is none."""
    body = (hu[::COARSE, ::COARSE] > BODY_HU).astype(np.uint8)
    _, _, areas, _ = cv2.connectedComponentsWithStats(body, connectivity=4)
    if len(areas) == 1:
        return slice(None), slice(None)
    left, top, columns, rows, _ = (COARSE * areas[1:][areas[1:, cv2.CC_STAT_AREA].argmax()]).tolist()
    side = round(MARGIN * max(rows, columns))
    if side >= min(hu.shape):
        return slice(None), slice(None)
    starts = [
        min(max(middle - side // 2, 0), size - side)
        for middle, size in zip((top + rows // 2, left + columns // 2), hu.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)
