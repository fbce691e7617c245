"""How the layers of a network run: one after the other or as one scanned body, and under which remat policy.

Both are choices of the run, not of the model. The parameters are one subtree per layer, with the same names either way.
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
GATHERED = (
    "gathered"  # the name of matrices gathered from all devices; no policy keeps them: each pass gathers them again
)
REMAT = {
    "none": policies.save_anything_except_these_names(GATHERED),
    "full": policies.nothing_saveable,
    "attention": policies.save_only_these_names(SAVED_ATTENTION),  # avoids the one costly recomputation
    # Products with weights have no batch dimensions. The scores of attention have some, and are never kept.
    "dots": policies.save_from_both_policies(
        policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names(SAVED_ATTENTION)
    ),
}


def run_layers(config: ModelConfig, body: Callable[..., Any], layers: Sequence[tuple[nn.Module, ...]], x: Any) -> Any:
    """Computes `x = body(x, *modules)` for the modules of each layer in turn; all layers have modules of the same kinds.

    Each layer keeps its input and what `REMAT[config.remat]` names for its backward pass.

    With `config.scan_layers` the layers are compiled once, with their parameters stacked inside the compiled function.
    This saves the compilation of every layer but one. It costs one copy of the weights per step, in the compute dtype
    (2 bytes per parameter in bfloat16), and as much for their gradients.
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
    stacked = jax.tree.map(lambda *leaves: jnp.stack([_in_used_dtype(leaf, config) for leaf in leaves]), *weights)
    return jax.lax.scan(lambda x, params: (layer(x, params), None), x, stacked)[0]


def _in_used_dtype(weight: jax.Array, config: ModelConfig) -> jax.Array:
    """A matrix in the compute dtype, as `layers.Linear` casts it; norm scales are used in float32."""
    return weight.astype(config.compute_dtype) if weight.ndim == 2 else weight
