"""Units to sound by a HiFi-GAN generator (Kong et al., arXiv 2010.05646) over unit embeddings (Polyak et al., arXiv
2104.00355), from a local directory: `config.json` and weights, as public unit vocoders have them.

    embedding → convolution of 7 → for each rate a transposed convolution, mean of residual blocks → convolution of 7,
    tanh

One embedding a frame: units keep their repeats, so that a checkpoint's duration predictor is not needed and not read.
"""

import dataclasses
import functools
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.prepare.acoustic.convert import read_state
from lst_jax.prepare.acoustic.weights import WEIGHT_NORMS
from lst_jax.storage.at_hand import at_hand
from lst_jax.storage.place import Place

SLOPE, LAST_SLOPE = 0.1, 0.01  # of the leaky ReLUs; the one before the last convolution has torch's default
ENDS_KERNEL = 7  # of the first and the last convolution
UNUSED = re.compile(r"dur_predictor\.")
WEIGHTS = ("*.safetensors", "*.pt", "*.pth", "g_*")


@dataclasses.dataclass(frozen=True)
class Shape:
    """The fields of `config.json` that are read; hashable."""

    resblock: str  # "1": pairs of convolutions, the second undilated; "2": single ones
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    num_embeddings: int
    embedding_dim: int
    sampling_rate: int  # Hz

    @property
    def hop(self) -> int:
        """Samples of a unit."""
        return math.prod(self.upsample_rates)

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Name → torch's shape of the weight of every convolution; transposed ones are [in, out, kernel]."""
        channels = [self.upsample_initial_channel >> i for i in range(len(self.upsample_rates) + 1)]
        shapes = {
            "conv_pre": (channels[0], self.embedding_dim, ENDS_KERNEL),
            "conv_post": (1, channels[-1], ENDS_KERNEL),
        }
        for i, kernel in enumerate(self.upsample_kernel_sizes):
            shapes[f"ups.{i}"] = (channels[i], channels[i + 1], kernel)
            for k, (size, dilations) in enumerate(
                zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
            ):
                for j in range(len(dilations)):
                    for part in ("convs1", "convs2") if self.resblock == "1" else ("convs",):
                        name = f"resblocks.{i * len(self.resblock_kernel_sizes) + k}.{part}.{j}"
                        shapes[name] = (channels[i + 1], channels[i + 1], size)
        return shapes


class UnitVocoder:
    """A vocoder of one speaker."""

    def __init__(self, shape: Shape, params: Mapping[str, Any]):
        """`params` as `read_parameters` gives them."""
        self.shape, self.params = shape, dict(params)

    @classmethod
    def load(cls, directory: str | os.PathLike | Place) -> "UnitVocoder":
        """Reads a directory; one in a bucket is copied here.

        Raises: DataError naming the field, the file or the tensor that does not fit; StorageError.
        """
        directory = at_hand(directory)
        shape = read_shape(directory / "config.json")
        files = sorted({path for pattern in WEIGHTS for path in directory.glob(pattern)})
        if len(files) != 1:
            raise DataError(
                f"{directory}: must hold one file of weights ({', '.join(WEIGHTS)}), has {len(files)}; "
                "leave the generator's alone there"
            )
        return cls(shape, read_parameters(files[0], shape))

    @property
    def unit_rate(self) -> float:
        """Units per second."""
        return self.shape.sampling_rate / self.shape.hop

    def synthesise(self, units: np.ndarray) -> np.ndarray:
        """Samples float32 [hop·frames] at `shape.sampling_rate`. Raises: DataError where units are unknown."""
        if len(units) and units.max() >= self.shape.num_embeddings:
            raise DataError(
                f"--vocoder: has {self.shape.num_embeddings} units, unit {units.max()} is none of them; "
                "use the vocoder of the run's units"
            )
        return np.asarray(_generate(self.shape, self.params, units.astype(np.int32)))


def read_shape(path: pathlib.Path) -> Shape:
    """The shape in a `config.json`. Raises: DataError."""
    config = json_files.read_model_file(path)
    for field in ("multispkr", "f0", "f0_quantizer_path"):
        if config.get(field):
            raise DataError(
                f"{path}: {field}={config[field]}: only vocoders of units alone and one speaker are read; "
                "choose such a one"
            )
    fields = [field.name for field in dataclasses.fields(Shape)]
    if missing := [name for name in fields if name not in config]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; give the config.json of a unit HiFi-GAN")
    shape = Shape(**{name: _frozen(config[name]) for name in fields})
    pairs = list(zip(shape.upsample_rates, shape.upsample_kernel_sizes, strict=False))
    rules = {
        f"resblock={shape.resblock!r} must be '1' or '2'": shape.resblock in ("1", "2"),
        "upsample_rates and upsample_kernel_sizes must be of one length": len(shape.upsample_rates)
        == len(shape.upsample_kernel_sizes)
        > 0,
        "resblock_kernel_sizes and resblock_dilation_sizes must be of one length": len(shape.resblock_kernel_sizes)
        == len(shape.resblock_dilation_sizes)
        > 0,
        "each upsampling kernel must be its rate and an even number more": all(
            kernel >= rate and (kernel - rate) % 2 == 0 for rate, kernel in pairs
        ),
        "resblock_kernel_sizes must be odd": all(size % 2 for size in shape.resblock_kernel_sizes),
        f"model_in_dim must be embedding_dim={shape.embedding_dim}": config.get("model_in_dim", shape.embedding_dim)
        == shape.embedding_dim,
    }
    for rule, kept in rules.items():
        if not kept:
            raise DataError(f"{path}: {rule}; choose another vocoder")
    return shape


def read_parameters(path: pathlib.Path, shape: Shape) -> dict[str, Any]:
    """`{"dict": [units, width], layer: (kernel [places, in, out], bias)}` float32, weight norms multiplied out.

    Raises: DataError naming tensors that are missing, unknown or of another shape.
    """
    state = {name.removeprefix("generator."): tensor for name, tensor in read_state(path).items()}
    found: dict[str, Any] = {"dict": _take(path, state, "dict.weight", (shape.num_embeddings, shape.embedding_dim))}
    for name, wanted in shape.layers().items():
        transposed = name.startswith("ups.")
        weight = _weight(path, state, name, wanted)
        # torch's transposed convolution is the gradient of one: as a convolution, its kernel runs backwards
        kernel = weight[:, :, ::-1].transpose(2, 0, 1) if transposed else weight.transpose(2, 1, 0)
        found[name] = (np.ascontiguousarray(kernel), _take(path, state, f"{name}.bias", wanted[transposed:][:1]))
    if unknown := sorted(name for name in state if not UNUSED.match(name)):
        raise DataError(
            f"{path}: has tensors that config.json has no place for: {', '.join(unknown[:4])}; does "
            "config.json belong to these weights?"
        )
    return found


def _weight(path: pathlib.Path, state: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    for gain, direction in WEIGHT_NORMS:
        if f"{name}.{direction}" in state:
            v = _take(path, state, f"{name}.{direction}", shape)
            g = _take(path, state, f"{name}.{gain}", (shape[0], 1, 1))
            return g * v / np.sqrt((v**2).sum((1, 2), keepdims=True))
    return _take(path, state, f"{name}.weight", shape)


def _take(path: pathlib.Path, state: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    found = state.pop(name, None)
    if found is None or found.shape != shape:
        what = "lacks it" if found is None else f"has it as {found.shape}"
        raise DataError(f"{path}: {name} must be {shape}, the file {what}; does config.json belong to these weights?")
    return found.astype(np.float32)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@functools.partial(jax.jit, static_argnums=0)
def _generate(shape: Shape, params, unit_T):
    leaky = functools.partial(jax.nn.leaky_relu, negative_slope=SLOPE)
    x_TC = _convolve(params["dict"][unit_T], params["conv_pre"])
    blocks = len(shape.resblock_kernel_sizes)
    for i, rate in enumerate(shape.upsample_rates):
        x_TC = _convolve(leaky(x_TC), params[f"ups.{i}"], rate=rate)
        x_TC = (
            sum(
                _block(shape, params, i * blocks + k, x_TC, shape.resblock_dilation_sizes[k], leaky)
                for k in range(blocks)
            )
            / blocks
        )
    x_TC = _convolve(jax.nn.leaky_relu(x_TC, LAST_SLOPE), params["conv_post"])
    return jnp.tanh(x_TC[:, 0])


def _block(shape: Shape, params, number: int, x_TC, dilations, leaky):
    for j, dilation in enumerate(dilations):
        if shape.resblock == "1":
            y_TC = _convolve(leaky(x_TC), params[f"resblocks.{number}.convs1.{j}"], dilation=dilation)
            x_TC = x_TC + _convolve(leaky(y_TC), params[f"resblocks.{number}.convs2.{j}"])
        else:
            x_TC = x_TC + _convolve(leaky(x_TC), params[f"resblocks.{number}.convs.{j}"], dilation=dilation)
    return x_TC


def _convolve(x_TC, parameters, dilation: int = 1, rate: int = 1):
    """As long as `x`, or `rate` times as long: zeros between its positions, and a kernel that reaches over them."""
    kernel, bias = parameters
    places = len(kernel)
    pad = places - 1 - (places - rate) // 2 if rate > 1 else dilation * (places - 1) // 2
    out_BTC = jax.lax.conv_general_dilated(
        x_TC[None],
        kernel,
        (1,),
        [(pad, pad)],
        lhs_dilation=(rate,),
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision="highest",
    )
    return out_BTC[0] + bias
