"""How our matplotlib pictures look. Importing this sets matplotlib up for files, without a display."""

import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"speech": "#c2410c", "text": "#1d4ed8", "marker": "#6b7280", "third": "#15803d"}
plt.rcParams.update(
    {
        "figure.dpi": 110,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
    }
)


def png_of(figure) -> bytes:
    """The content of a PNG file, and closes the figure."""
    content = io.BytesIO()
    try:
        figure.savefig(content, format="png", bbox_inches="tight")
    finally:
        plt.close(figure)
    return content.getvalue()
