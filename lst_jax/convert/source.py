"""A model wherever it lies: its whole configuration, and its parameters by canonical path, read one array at a time.

Every format (`lst_jax.convert.formats`) opens as a `Source` and is written from one, so that any goes to any, and no
more than an array or a layer is in memory at a time. The canonical layout is that of the training checkpoint:

    patch_encoder/layers_0/attention/wq/kernel      float32 [in, out], one array a layer, never stacked
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from lst_jax.config import Config


class Stored(NamedTuple):
    """An array that has not been read yet."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]  # float32 of that shape; may be a view of a mapped file: never written to


@dataclasses.dataclass(frozen=True)
class Source:
    """A model to be converted or asked."""

    config: Config  # data.tokenizer and data.unit_tokenizer name files that exist
    arrays: Mapping[str, Stored]  # canonical path -> array
    origin: dict[str, Any]  # what conversion.json says of it: format, path, step(s)

    def tree(self, prefix: str = "") -> Any:
        """The nested parameters below a path, all read: "" is the whole model, "global_transformer/layers_3" a layer."""
        found = {path.removeprefix(prefix).strip("/"): one.read() for path, one in self.arrays.items()
                 if not prefix or path.startswith(f"{prefix}/")}
        return traverse_util.unflatten_dict(found, sep="/")
