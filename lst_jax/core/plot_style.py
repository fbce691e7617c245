"""How our matplotlib pictures look. Figures are made without pyplot: no display is needed, and no global setting changes."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib.figure import Figure

COLOURS = {"speech": "#c2410c", "text": "#1d4ed8", "marker": "#6b7280", "third": "#15803d"}
STYLE = {
    "figure.dpi": 110,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """The style, within a `with` or for one function as its decorator. Drawing and saving both belong inside."""
    with matplotlib.rc_context(STYLE):
        yield


def subplots(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], layout: Any = None, **options: Any):
    """A figure and its axes, as `pyplot.subplots` returns them. `figsize` is in inches."""
    figure = Figure(figsize=figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **options)


def png_of(figure: Figure) -> bytes:
    """The content of a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", bbox_inches="tight")
    return content.getvalue()
