"""A model wherever it lies: its whole configuration, and its parameters by canonical path, read one array at a time.

Every format (`lst_jax.convert.formats`) opens as a `Source` and is written from one, so that any goes to any, and no
more than an array or a layer is in memory at a time. The canonical layout is that of the training checkpoint:

    patch_encoder/layers_0/attention/wq/kernel      float32 [in, out], one array a layer, never stacked
"""

import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from lst_jax.config import Config, ModelConfig
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.registry import build


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
        """The nested parameters below a path, all read: "" is the whole model, "patch_decoder/layers_3" a layer."""
        found = {
            path.removeprefix(prefix).strip("/"): one.read()
            for path, one in self.arrays.items()
            if not prefix or path.startswith(f"{prefix}/")
        }
        return traverse_util.unflatten_dict(found, sep="/")

    def seen(self, see: Callable[[str, np.ndarray], None]) -> "Source":
        """The same; `see(path, array)` is called whenever an array is read."""

        def watched(path: str, one: Stored) -> Stored:
            def read() -> np.ndarray:
                array = one.read()
                see(path, array)
                return array

            return Stored(one.shape, read)

        return dataclasses.replace(self, arrays={path: watched(path, one) for path, one in self.arrays.items()})


@functools.lru_cache(8)
def expected_shapes(config: ModelConfig, vocab: Vocab) -> Mapping[str, tuple[int, ...]]:
    """Canonical path to shape of every parameter of a model; nothing is computed."""
    shapes = jax.eval_shape(build(config, vocab, 1).init_params, jax.random.key(0))
    return types.MappingProxyType(
        {path: tuple(one.shape) for path, one in traverse_util.flatten_dict(shapes, sep="/").items()}
    )


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raises DataError naming tensors that are missing, left over or of another shape; names are of either side."""
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or extra:
        raise DataError(
            f"{where}: {len(missing)} tensors missing and {len(extra)} left over (missing: "
            f"{some(missing) or 'none'}; left over: {some(extra) or 'none'}); use the configuration that "
            "it was made with"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise DataError(
                f"{where}: {name} has the shape {found[name]}, the configuration gives {shape}; use the "
                "one that it was made with"
            )


def some(names: Iterable[str]) -> str:
    """The first four of several names in order, and how many more. Example: "a, b, c, d and 3 more"."""
    names = sorted(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def turned(path: str, one: Stored) -> Stored:
    """A matrix between ours, [in, out], and torch's, [out, in], either way; anything else as it is."""
    return Stored(one.shape[::-1], lambda: one.read().T) if path.endswith("/kernel") else one


def turned_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an array of that path on the other side."""
    return shape[::-1] if path.endswith("/kernel") else shape
