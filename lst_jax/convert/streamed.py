"""Logits of a model that does not fit in memory: global layers are read and applied one after the other.

The modules are those of training, with the same arithmetic in float32. All other networks (embeddings, local networks,
output) are in memory as a whole: 0.3B parameters of the 7B model.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from lst_jax.config import ModelConfig
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.source import Source
from lst_jax.core.shapes import Float, ndarray
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.architecture import Architecture, BeforeGlobal
from lst_jax.model.architectures.registry import build
from lst_jax.model.layers import Block
from lst_jax.model.placement import ONE_DEVICE


class Programs(NamedTuple):
    """The forward pass of a model in three compiled parts; the first argument of each is the parameters that it needs."""

    before_layers: Callable[..., BeforeGlobal]  # of rows: what enters the first global layer
    layer: Callable[..., jax.Array]  # of states [B, U, D], the documents of patches, and whether it rotates
    after_layers: Callable[..., jax.Array]  # of the last global states and `BeforeGlobal.kept`: logits


def logits(source: Source, inputs: Inputs, progress: bool = False) -> Float[ndarray, "B T V"]:
    """Float32 logits of whole rows, the same as the model itself gives with all parameters at once."""
    config = dataclasses.replace(source.config.model, compute_dtype="float32", remat="none")
    programs = compiled(config, source.config.joint_vocab, int(inputs.patch_start_BT.sum(1).max()))
    names = [f"global_transformer/layers_{i}" for i in range(config.global_transformer.layers)]
    around, rotates = _around(source, names), config.global_transformer.rotates
    with jax.default_matmul_precision("highest"):
        before = programs.before_layers(
            around, inputs.token_BT, np.ones_like(inputs.token_BT), inputs.patch_start_BT, inputs.patch_end_BT
        )
        x_BUD = before.x_BUW
        for i, name in enumerate(tqdm.tqdm(names, desc="logits", unit="layer", disable=not progress)):
            # waiting for the layer frees its parameters before those of the next layer are read
            x_BUD = jax.block_until_ready(programs.layer(source.tree(name), x_BUD, before.doc_id_BU, rotates(i)))
        return np.asarray(programs.after_layers(around, x_BUD, before.kept))


@functools.cache
def compiled(config: ModelConfig, vocab: Vocab, row_patches: int) -> Programs:
    """The programs for rows of `row_patches` patch positions.

    Layers that rotate share one program, compiled at its first call; so do those that do not.
    """
    model = build(config, vocab, row_patches)

    def layer(params, x_BUD, doc_id_BU, rotated):
        block = Block(config, ONE_DEVICE, config.global_transformer, rotated)
        return block.apply({"params": params}, x_BUD, doc_id_BU)

    return Programs(
        jax.jit(lambda params, *rows: model.apply({"params": params}, *rows, method=_before_layers)),
        jax.jit(layer, static_argnums=3),
        jax.jit(lambda params, x_BUD, kept: model.apply({"params": params}, x_BUD, kept, method=_after_layers)),
    )


def _before_layers(model: Architecture, *rows) -> BeforeGlobal:
    before = model.before_global(*rows)
    return before._replace(x_BUW=model.global_transformer.inputs(before.x_BUW))


def _after_layers(model: Architecture, global_BUD, kept):
    return model.read_logits(model.after_global(global_BUD, kept))


def _around(source: Source, layers: list[str]):
    """All parameters but those of the layers of the global transformer."""
    inside = tuple(f"{name}/" for name in layers)
    arrays = {path: one for path, one in source.arrays.items() if not path.startswith(inside)}
    return dataclasses.replace(source, arrays=arrays).tree()
