"""A model in any format: its whole configuration, and its parameters by canonical path, read one array at a time.

Every format (`lst_jax.convert.formats`) opens as a `Source` and is written from a `Source`, so any format converts to
any other, with at most an array or a layer in memory. The canonical layout is that of the training checkpoint:

    patch_encoder/layers_0/attention/wq/kernel      float32 [in, out], one array per layer, never stacked
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
    """An array that can be read when it is needed."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]  # gives float32 of that shape; may be a view of a mapped file, so do not write to it


@dataclasses.dataclass(frozen=True)
class Source:
    """A model to convert or to compute with."""

    config: Config  # data.tokenizer and data.unit_tokenizer name files that exist
    arrays: Mapping[str, Stored]  # canonical path -> array
    origin: dict[str, Any]  # its entry in conversion.json: format, path, step(s)

    def tree(self, prefix: str = "") -> Any:
        """Reads the nested parameters below a path: "" is the whole model, "patch_decoder/layers_3" a layer."""
        found = {
            path.removeprefix(prefix).strip("/"): one.read()
            for path, one in self.arrays.items()
            if not prefix or path.startswith(f"{prefix}/")
        }
        return traverse_util.unflatten_dict(found, sep="/")

    def observed_by(self, see: Callable[[str, np.ndarray], None]) -> "Source":
        """The same source, which calls `see(path, array)` whenever an array is read."""

        def watched(path: str, one: Stored) -> Stored:
            def read() -> np.ndarray:
                array = one.read()
                see(path, array)
                return array

            return Stored(one.shape, read)

        return dataclasses.replace(self, arrays={path: watched(path, one) for path, one in self.arrays.items()})


def rounded(source: Source, dtype: str) -> Source:
    """The source with arrays that this type can hold exactly, still given as float32.

    Args: `dtype` is "float32", which changes nothing, or "bfloat16".
    """
    if dtype == "float32":
        return source

    def cut(one: Stored) -> Stored:
        return Stored(one.shape, lambda: bfloat16_widened(bfloat16_bits(one.read())))

    return dataclasses.replace(source, arrays={path: cut(one) for path, one in source.arrays.items()})


def bfloat16_bits(x: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, rounded to the nearest, halves to even. The numbers are finite."""
    bits = np.asarray(x, np.float32, order="C").view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def bfloat16_widened(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers whose upper halves these are, exactly; numpy has no bfloat16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# name of a type -> what numpy stores, and how that becomes float32, exactly
WIDENED: Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "float32": ("<f4", np.asarray),
    "float16": ("<f2", lambda x: x.astype(np.float32)),
    "bfloat16": ("<u2", bfloat16_widened),
}


@functools.lru_cache(8)
def expected_shapes(config: ModelConfig, vocab: Vocab) -> Mapping[str, tuple[int, ...]]:
    """The shape of every parameter of a model by canonical path; nothing is computed."""
    shapes = jax.eval_shape(build(config, vocab, 1).init_params, jax.random.key(0))
    return types.MappingProxyType(
        {path: tuple(one.shape) for path, one in traverse_util.flatten_dict(shapes, sep="/").items()}
    )


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compares shapes by name, of either side. Raises: DataError naming tensors that are missing, left over or different."""
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
    """The first four names in order, and the number of all others. Example: "a, b, c, d and 3 more"."""
    names = sorted(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def transposed(path: str, one: Stored) -> Stored:
    """Converts a matrix between our layout [in, out] and torch's [out, in]; other arrays stay as they are."""
    return Stored(one.shape[::-1], lambda: one.read().T) if path.endswith("/kernel") else one


def transposed_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an array of that path in the other layout."""
    return shape[::-1] if path.endswith("/kernel") else shape
