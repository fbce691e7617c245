"""Logits of a model that fits no memory: the layers of the global transformer are read and applied one by one.

The modules are those of training, with the same arithmetic in float32. What lies before and behind the global
transformer (embeddings, local networks, output) is in memory as a whole: 0.2B of the 7B model's parameters, or 0.3B.
"""

import dataclasses

import jax
import numpy as np
import tqdm

from lst_jax.convert.inputs import Inputs
from lst_jax.convert.source import Source
from lst_jax.model.layers import Block
from lst_jax.model.lst import GlobalTransformer, System, build
from lst_jax.model.placement import ONE_DEVICE
from lst_jax.shapes import Float, ndarray

GLOBAL = "global_transformer"


def logits(source: Source, inputs: Inputs, progress: bool = False) -> Float[ndarray, "B T V"]:
    """Float32 logits of whole rows, the same as `lst.build` gives with all parameters at once."""
    config = dataclasses.replace(source.config.model, compute_dtype="float32", remat="none")
    units = int(inputs.patch_start_BT.sum(1).max())
    module = build(config, source.config.joint_vocab, units).module
    stack = config.global_transformer
    names = [f"{GLOBAL}/layers_{i}" for i in range(stack.layers)]
    around = _around(source, names)
    ones_BT = np.ones_like(inputs.token_BT)
    rows = (inputs.token_BT, ones_BT, inputs.patch_start_BT, inputs.patch_end_BT)
    with jax.default_matmul_precision("highest"):
        before = jax.jit(lambda p, *rows: module.apply({"params": p}, *rows, method="before_global"))(around, *rows)
        x_BUD = GlobalTransformer(config, ONE_DEVICE).apply({"params": around[GLOBAL] if GLOBAL in around else {}},
                                                            before.x_BUW, method="inputs")
        block = jax.jit(lambda p, x_BUD: Block(config, ONE_DEVICE, stack).apply({"params": p}, x_BUD, before.doc_id_BU))
        for name in tqdm.tqdm(names, desc="logits", unit="layer", disable=not progress):
            # waiting for the layer lets go of its parameters before the next one is read
            x_BUD = jax.block_until_ready(block(source.tree(name), x_BUD))
        return np.asarray(jax.jit(lambda p, *args: module.apply({"params": p}, *args, method=_behind))(
            around, x_BUD, before.kept))


def _behind(module: System, global_BUD, kept):
    return module.logits(module.after_global(global_BUD, kept))


def _around(source: Source, layers: list[str]):
    """All parameters but those of the layers of the global transformer."""
    inside = tuple(f"{name}/" for name in layers)
    arrays = {path: one for path, one in source.arrays.items() if not path.startswith(inside)}
    return dataclasses.replace(source, arrays=arrays).tree()
