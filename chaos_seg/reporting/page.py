"""Self-contained HTML pages: text through templates that escape it, pictures inside the file."""

import base64
import io

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure
from PIL import Image

from chaos_seg.reporting.curves import STYLE

_TEMPLATES = Environment(
    loader=PackageLoader("chaos_seg.reporting"),
    autoescape=select_autoescape(),  # HTML, not Markdown
    undefined=StrictUndefined,
    trim_blocks=True,
)


def render(template: str, **values: object) -> str:
    """The page that `templates/<template>` makes of `values`."""
    return _TEMPLATES.get_template(template).render(**values)


def embedded(figure: Figure, dpi: int = 110) -> str:
    """A figure as a PNG in a data URI for <img src>."""
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format="png", dpi=dpi)
    return data_uri(file.getvalue(), "png")


def drawn(figure: Figure) -> str:
    """A figure as lines that stay sharp in print, an SVG in a data URI for <img src>; the same bytes every time."""
    file = io.BytesIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": "chaos_seg"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return data_uri(file.getvalue(), "svg+xml")


def as_jpeg(picture: np.ndarray) -> bytes:
    """A picture, uint8 RGB (rows, columns, 3), in a quarter of the bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=88, subsampling=0)
    return file.getvalue()


def data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()
