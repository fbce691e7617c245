"""Runs a directory with `transformers`, an optional dependency, as the other side of a proof."""

import contextlib
import importlib.util
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from lst_jax.convert.source import some
from lst_jax.core.errors import DataError
from lst_jax.core.shapes import Float, Int, ndarray

MISSING = "lst_jax (the files, read again: transformers is not installed)"


def installed() -> bool:
    """Whether transformers and torch are installed; an error within them does not count as their absence."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def logits(
    path: pathlib.Path,
    class_name: str,
    token_BT: Int[ndarray, "B T"],
    rows_of: Mapping[str, ndarray] = types.MappingProxyType({}),
    **arguments: Any,
) -> tuple[Float[ndarray, "B T V"], str]:
    """Float32 logits [B, T, V] of whole rows without padding, one row at a time, and what ran it.

    The weights are mapped, so memory holds activations and pages that can be dropped.
    Args: `class_name` in transformers, and `arguments` of its `from_pretrained`; `rows_of` are arrays [B, T] that the
        model is given beside the ids, by name.
    Raises: DataError where a tensor is missing.
    """
    import torch
    import transformers

    with _quiet(transformers):
        model, loading = getattr(transformers, class_name).from_pretrained(
            path,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **arguments,
        )
    wrong = sorted(map(str, [*loading["missing_keys"], *loading["unexpected_keys"], *loading["mismatched_keys"]]))
    if wrong:
        raise DataError(f"{path}: transformers does not find its tensors in {some(wrong)}; convert it again")
    with torch.inference_mode():
        rows = [
            model(
                torch.from_numpy(np.asarray(token_T, np.int64))[None],
                use_cache=False,
                **{name: torch.from_numpy(rows_BT[i : i + 1]) for name, rows_BT in rows_of.items()},
            )
            .logits[0]
            .numpy()
            for i, token_T in enumerate(token_BT)
        ]
    return np.stack(rows), f"transformers {transformers.__version__}, torch {torch.__version__}"


@contextlib.contextmanager
def _quiet(transformers):
    """Silences progress bars and advice while a model is loaded; errors are still raised."""
    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
