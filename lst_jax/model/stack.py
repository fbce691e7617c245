"""How the layers of a network run: one after the other or as one scanned body, keeping what the remat policy names.

Both are choices of the run, not of the model: the parameters are one subtree a layer, under the same names, whichever
way they run.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import checkpoint_policies as policies

from lst_jax.config import ModelConfig
from lst_jax.model.attention import SAVED_ATTENTION

# model.remat -> what jax.checkpoint keeps of a layer besides its input; the backward pass recomputes the rest
GATHERED = "gathered"  # matrices that come from all devices are never kept: each pass gathers them anew
REMAT = {
    "none": policies.save_anything_except_these_names(GATHERED),
    "full": policies.nothing_saveable,
    "attention": policies.save_only_these_names(SAVED_ATTENTION),  # spares the one costly recomputation
    # products with weights, which have no batch dimensions; the scores of attention have them and are never kept
    "dots": policies.save_from_both_policies(
        policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names(SAVED_ATTENTION)
    ),
}


def run_layers(config: ModelConfig, body: Callable[..., Any], layers: Sequence[tuple[nn.Module, ...]], x: Any) -> Any:
    """`x = body(x, *modules)` for the modules of each layer in turn; all layers have modules of the same kinds.

    With `config.scan_layers` the layers are compiled once: their parameters are stacked inside the compiled function.
    That costs a copy of the layers' weights a step, matrices in the compute dtype in which they are used anyhow
    (2 bytes a parameter in bfloat16), and as much for their gradients; it saves the compilation of every layer but one.
    Each layer keeps for its backward pass what `REMAT[config.remat]` says, and its input.
    """
    if layers[0][0].is_initializing():
        for modules in layers:
            x = body(x, *modules)
        return x
    detached = [module.clone(parent=None) for module in layers[0]]
    weights = [tuple(module.variables["params"] for module in modules) for modules in layers]

    def layer(x, params):
        return body(x, *(functools.partial(m.apply, {"params": p}) for m, p in zip(detached, params, strict=True)))

    scanned = config.scan_layers and len(layers) > 1
    if config.remat != "none":
        layer = jax.checkpoint(layer, policy=REMAT[config.remat], prevent_cse=not scanned)
    if not scanned:
        for params in weights:
            x = layer(x, params)
        return x
    stacked = jax.tree.map(lambda *leaves: jnp.stack([_as_used(leaf, config) for leaf in leaves]), *weights)
    return jax.lax.scan(lambda x, params: (layer(x, params), None), x, stacked)[0]


def _as_used(weight: jax.Array, config: ModelConfig) -> jax.Array:
    """Matrices in the compute dtype, as `layers.Linear` casts them; norm scales are used in float32."""
    return weight.astype(config.compute_dtype) if weight.ndim == 2 else weight
