import numpy as np

from chaos_seg.data.preprocessing.crop import body_square


def body(rows: slice, columns: slice, size: tuple[int, int] = (200, 200)) -> np.ndarray:
    """HU (rows, columns, 1) of a body on its table in air."""
    hu = np.full((*size, 1), -1000, np.int16)
    hu[rows, columns], hu[-10:-6, 20:-20] = 40, 300
    return hu


def test_the_crop_is_a_square_about_the_body_without_the_table() -> None:
    hu = body(slice(60, 120), slice(40, 140))
    rows, columns = body_square(hu[..., 0])
    assert rows.stop - rows.start == columns.stop - columns.start == 110
    assert (rows.start + rows.stop) / 2 == 90 and (columns.start + columns.stop) / 2 == 90
    corner = body_square(body(slice(0, 60), slice(0, 80))[..., 0])
    assert corner == (slice(0, 88), slice(0, 88))
    for whole in (body(slice(0, 190), slice(0, 195)), np.full((200, 200, 1), -1000, np.int16)):
        assert body_square(whole[..., 0]) == (slice(None), slice(None))
