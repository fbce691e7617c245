"""How our matplotlib pictures look. Importing this sets matplotlib up for files, without a display."""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from lst_jax.core.files import replacing

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


def save_figure(figure, path: pathlib.Path) -> None:
    """Writes a PNG file whole or not at all, in the place of a file or a link, and closes the figure.

    Raises: StorageError where the file system refuses.
    """
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", bbox_inches="tight")
    finally:
        plt.close(figure)
