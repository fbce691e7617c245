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
from lst_jax.model import eight_bits
from lst_jax.model.attention import SAVED_ATTENTION

GATHERED = (
    "gathered"  # the name of matrices gathered from all devices; no policy keeps them: each pass gathers them again
)


def _plain_products(primitive, *operands, **params) -> bool:
    """A policy: products with weights, which have no batch dimensions; not those in 8 bits, whose results have a name."""
    return policies.dots_with_no_batch_dims_saveable(primitive, *operands, **params) and operands[0].dtype.itemsize > 1


# model.remat -> what jax.checkpoint keeps of a layer besides its input; the backward pass recomputes the rest
REMAT = {
    "none": policies.save_anything_except_these_names(GATHERED),
    "full": policies.nothing_saveable,
    "attention": policies.save_only_these_names(SAVED_ATTENTION),  # avoids the one costly recomputation
    # The scores of attention have batch dimensions, and are never kept.
    "dots": policies.save_from_both_policies(
        _plain_products, policies.save_only_these_names(SAVED_ATTENTION, eight_bits.PRODUCT)
    ),
}


def run_layers(
    config: ModelConfig, body: Callable[..., Any], layers: Sequence[tuple[nn.Module, ...]], x: Any, period: int = 1
) -> Any:
    """Computes `x = body(x, *modules)` for the modules of each layer in turn.

    All layers have parameters of the same kinds. The layers i and i + `period` are also the same function of them.
    Each layer keeps its input and what `REMAT[config.remat]` names for its backward pass.

    With `config.scan_layers` the first `period` layers are compiled once, for all whole periods. Their parameters are
    stacked inside the compiled function. Layers behind the last whole period are compiled beside them. This costs one
    copy of the weights per step, in the compute dtype (2 bytes per parameter in bfloat16), and as much for their gradients.
    """
    if layers[0][0].is_initializing():
        for modules in layers:
            x = body(x, *modules)
        return x
    weights = [tuple(module.variables["params"] for module in modules) for modules in layers]
    groups = len(layers) // period if config.scan_layers else 0
    scanned = groups * period if groups > 1 else 0
    if scanned:
        kinds = [_layer(config, body, modules, prevent_cse=False) for modules in layers[:period]]

        def group(x, params):
            for layer, own in zip(kinds, params, strict=True):
                x = layer(x, own)
            return x, None

        grouped = [weights[i : i + period] for i in range(0, scanned, period)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack([_in_used_dtype(leaf, config) for leaf in leaves]), *grouped)
        x = jax.lax.scan(group, x, stacked)[0]
    for modules, params in zip(layers[scanned:], weights[scanned:], strict=True):
        x = _layer(config, body, modules, prevent_cse=True)(x, params)
    return x


def _layer(config: ModelConfig, body: Callable[..., Any], modules: tuple[nn.Module, ...], prevent_cse: bool):
    """The function (x, parameters) -> x of a layer, under the remat policy."""
    detached = [module.clone(parent=None) for module in modules]

    def layer(x, params):
        return body(x, *(functools.partial(m.apply, {"params": p}) for m, p in zip(detached, params, strict=True)))

    if config.remat == "none":
        return layer
    return jax.checkpoint(layer, policy=REMAT[config.remat], prevent_cse=prevent_cse)


def _in_used_dtype(weight: jax.Array, config: ModelConfig) -> jax.Array:
    """A matrix in the compute dtype, as `layers.Linear` casts it; norm scales are used in float32."""
    return weight.astype(config.compute_dtype) if weight.ndim == 2 else weight
