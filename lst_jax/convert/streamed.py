"""Logits of a model that fits no memory: the layers of the global transformer are read and applied one by one.

The modules are those of training, with the same arithmetic in float32. What lies before and behind the global
transformer (embeddings, local networks, output) is in memory as a whole: 0.3B of the 7B model's parameters.
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
from lst_jax.model.layers import Block
from lst_jax.model.lst import BeforeGlobal, System, build
from lst_jax.model.placement import ONE_DEVICE


class Programs(NamedTuple):
    """A model's forward pass in three compiled parts; each takes the parameters it needs first."""

    ahead: Callable[..., BeforeGlobal]  # of rows: what enters the first global layer
    layer: Callable[..., jax.Array]  # of states and the documents of units
    behind: Callable[..., jax.Array]  # of the last global states and what was kept: logits


def logits(source: Source, inputs: Inputs, progress: bool = False) -> Float[ndarray, "B T V"]:
    """Float32 logits of whole rows, the same as `lst.build` gives with all parameters at once."""
    config = dataclasses.replace(source.config.model, compute_dtype="float32", remat="none")
    programs = compiled(config, source.config.joint_vocab, int(inputs.patch_start_BT.sum(1).max()))
    names = [f"global_transformer/layers_{i}" for i in range(config.global_transformer.layers)]
    around = _around(source, names)
    with jax.default_matmul_precision("highest"):
        before = programs.ahead(
            around, inputs.token_BT, np.ones_like(inputs.token_BT), inputs.patch_start_BT, inputs.patch_end_BT
        )
        x_BUD = before.x_BUW
        for name in tqdm.tqdm(names, desc="logits", unit="layer", disable=not progress):
            # waiting for the layer lets go of its parameters before the next one is read
            x_BUD = jax.block_until_ready(programs.layer(source.tree(name), x_BUD, before.doc_id_BU))
        return np.asarray(programs.behind(around, x_BUD, before.kept))


@functools.cache
def compiled(config: ModelConfig, vocab: Vocab, units: int) -> Programs:
    """The programs for rows of `units` unit positions; they are compiled at their first call, all layers as one."""
    module = build(config, vocab, units).module
    block = Block(config, ONE_DEVICE, config.global_transformer)
    return Programs(
        jax.jit(lambda params, *rows: module.apply({"params": params}, *rows, method=_ahead)),
        jax.jit(lambda params, x_BUD, doc_id_BU: block.apply({"params": params}, x_BUD, doc_id_BU)),
        jax.jit(lambda params, x_BUD, kept: module.apply({"params": params}, x_BUD, kept, method=_behind)),
    )


def _ahead(module: System, *rows) -> BeforeGlobal:
    before = module.before_global(*rows)
    return before._replace(x_BUW=module.global_transformer.inputs(before.x_BUW))


def _behind(module: System, global_BUD, kept):
    return module.logits(module.after_global(global_BUD, kept))


def _around(source: Source, layers: list[str]):
    """All parameters but those of the layers of the global transformer."""
    inside = tuple(f"{name}/" for name in layers)
    arrays = {path: one for path, one in source.arrays.items() if not path.startswith(inside)}
    return dataclasses.replace(source, arrays=arrays).tree()
