"""The proof of a conversion: both sides compute the logits of the same text and speech, in float32."""

import importlib.metadata
import pathlib
from typing import Any

import numpy as np

from lst_jax.convert import streamed
from lst_jax.convert.inputs import inputs_for
from lst_jax.convert.source import Source
from lst_jax.core.errors import ConversionError

TOLERANCE = 1e-4  # largest difference of a logit: that of the parity cases (tests/parity)
PACKAGES = ("jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "torch", "transformers", "safetensors")


def prove(source: Source, form: Any, out: pathlib.Path, progress: bool = False) -> dict[str, Any]:
    """Compares the logits of the model in `out` with those of its source, whose arrays are each read once.

    Args: `form` is one of `lst_jax.convert.formats`.
    Returns: the entries for conversion.json.
    Raises: ConversionError where a logit differs by more than `TOLERANCE`, or is not a number.
    """
    inputs = inputs_for(source.config)
    ours = streamed.logits(source, inputs, progress)
    theirs, computed_by = form.logits(out, inputs)
    if theirs.shape != ours.shape:
        raise ConversionError(
            f"{form.NAME}: logits have the shape {theirs.shape}, the source's {ours.shape}; nothing "
            "was kept: please report this with the configuration"
        )
    error = np.abs(theirs.astype(np.float64) - ours)
    if not error.max() <= TOLERANCE:  # NaN must not pass
        raise ConversionError(
            f"{form.NAME}: logits differ by up to {error.max():.3g} ({error.mean():.3g} on average), "
            f"more than {TOLERANCE:g}, as computed by {computed_by}; nothing was kept: please report "
            "this with the configuration"
        )
    return {
        "max_logit_error": float(error.max()),
        "mean_logit_error": float(error.mean()),
        "tolerance": TOLERANCE,
        "logits": list(ours.shape),
        "largest_logit": float(np.abs(ours).max()),
        "computed_by": computed_by,
    }


def versions() -> dict[str, str | None]:
    """The versions of all packages that may have taken part; None where one is not installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found
