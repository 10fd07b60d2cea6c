import numpy as np
from matplotlib.figure import Figure

from chaos_seg.reporting.page import data_uri, drawn, embedded


def figure() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot(np.arange(3))
    return figure


def test_a_drawing_is_the_same_bytes_every_time_and_inside_the_page() -> None:
    assert drawn(figure()) == drawn(figure()) and drawn(figure()).startswith("data:image/svg+xml;base64,")
    assert embedded(figure()).startswith("data:image/png;base64,iVBOR")
    assert data_uri(b"abc", "png") == "data:image/png;base64,YWJj"
