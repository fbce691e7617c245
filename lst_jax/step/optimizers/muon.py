"""Muon: orthogonalised momentum for hidden matrices, AdamW for everything else.

Keller Jordan's method (https://kellerjordan.github.io/posts/muon) with the scale of Liu et al., "Muon is Scalable for
LLM Training" (arXiv 2502.16982): each change has the root mean square `optim.muon.update_rms`, which is AdamW's own
at 0.2. One learning rate and one weight decay therefore suit both kinds of parameters.

Orthogonalisation needs whole matrices, while each device stores parts of them. Matrices of one size are stacked, the
stack is split over all devices, and each device orthogonalises the whole matrices that it gets. An update therefore
moves every hidden matrix twice, to its device and back: 8 bytes per parameter, split over the devices. The arithmetic
is done once and not once per device.
"""

import collections
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from lst_jax.config import OptimConfig
from lst_jax.core.shapes import Array, Float
from lst_jax.parallel import sharding
from lst_jax.step.optimizers.optimizer import Optimizer

Path = tuple[str, ...]


class MuonNumbers(NamedTuple):
    """Float32 scalars; the fields are those of `OptimConfig` and `MuonConfig`."""

    beta1: Any
    beta2: Any
    eps: Any
    weight_decay: Any
    momentum: Any
    update_rms: Any


class MuonState(NamedTuple):
    """`mu` is the momentum of hidden matrices and the first moment of all others; `nu` is of the others alone."""

    count: jax.Array
    mu: Any
    nu: Any


class Muon(Optimizer):
    """One moment per parameter of a hidden matrix, two per parameter of embeddings, output matrix and norms."""

    @classmethod
    def numbers(cls, config: OptimConfig) -> MuonNumbers:
        """See `Optimizer.numbers`."""
        adam = (config.beta1, config.beta2, config.eps, config.weight_decay)
        return MuonNumbers(*map(np.float32, (*adam, config.muon.momentum, config.muon.update_rms)))

    def init(self, params: Any) -> MuonState:
        """All moments at zero."""
        others = {path: x for path, x in _flat(params).items() if not is_hidden_matrix(path, x)}
        zeros = jax.tree.map(jnp.zeros_like, (params, traverse_util.unflatten_dict(others)))
        return MuonState(jnp.zeros((), jnp.int32), *zeros)

    def update(self, numbers, rate, grads, state, params) -> tuple[Any, MuonState]:
        """See `Optimizer.update`."""
        grads, params, mu = _flat(grads), _flat(params), _flat(state.mu)
        hidden = [path for path, x in params.items() if is_hidden_matrix(path, x)]
        others = [path for path in params if path not in set(hidden)]

        before = optax.ScaleByAdamState(state.count, {path: mu[path] for path in others}, _flat(state.nu))
        adam = optax.scale_by_adam(b1=numbers.beta1, b2=numbers.beta2, eps=numbers.eps)
        changes, after = adam.update({path: grads[path] for path in others}, before)

        hidden_grads = {path: grads[path] for path in hidden}
        momentum = optax.tree.update_moment(hidden_grads, {path: mu[path] for path in hidden}, numbers.momentum, 1)
        ahead = _nesterov(hidden_grads, momentum, numbers.momentum, after.count)  # ty: ignore[missing-attribute]
        changes |= self._orthogonalized(ahead, numbers.update_rms)

        new = {path: x - rate * (changes[path] + numbers.weight_decay * x) for path, x in params.items()}
        moments = {path: (after.mu | momentum)[path] for path in params}  # ty: ignore[missing-attribute]
        return traverse_util.unflatten_dict(new), MuonState(
            after.count,  # ty: ignore[missing-attribute]
            traverse_util.unflatten_dict(moments),
            traverse_util.unflatten_dict(after.nu),  # ty: ignore[missing-attribute]
        )

    def _orthogonalized(self, matrices: Mapping[Path, jax.Array], rms: Float[Array, ""]) -> dict[Path, jax.Array]:
        """Each matrix's nearest one with equal singular values, about, of the root mean square `rms`."""
        by_size = collections.defaultdict(list)
        for path, matrix in matrices.items():
            by_size[tuple(sorted(matrix.shape))].append(path)
        found = {}
        for (narrow, wide), paths in by_size.items():
            stack_NIO = jnp.stack([_lying(matrices[path]) for path in paths])
            stack_NIO = self._spread(newton_schulz, stack_NIO) * (rms * np.sqrt(wide))
            for path, flat in zip(paths, stack_NIO[: len(paths)], strict=True):
                found[path] = flat if matrices[path].shape == (narrow, wide) else flat.T
        return found

    def _spread(self, function, stack_NIO: jax.Array) -> jax.Array:
        """`function` of a stack, on each device for its part of the stack; filled up with zeros to equal parts."""
        if self.mesh.size == 1:
            return function(stack_NIO, self.config.muon.newton_schulz_steps)
        split = sharding.split_over_all(self.mesh)
        filled = jnp.pad(stack_NIO, ((0, -len(stack_NIO) % self.mesh.size), (0, 0), (0, 0)))
        filled = jax.lax.with_sharding_constraint(filled, split)
        return jax.lax.with_sharding_constraint(function(filled, self.config.muon.newton_schulz_steps), split)


def is_hidden_matrix(path: Path, parameter: Any) -> bool:
    """Whether Muon updates this parameter: a matrix with no vocabulary side."""
    return len(parameter.shape) == 2 and "V" not in sharding.MATRICES[path[-2]]


def newton_schulz(stack_NIO: jax.Array, steps: int) -> jax.Array:
    """Orthogonalises each matrix of a stack about, in `steps` steps of a quintic iteration; optax has the numbers.

    It needs no more than products of matrices; singular values end between about 0.7 and 1.2.
    """
    alone = optax.contrib.scale_by_muon(
        beta=0.0,  # momentum is ours, as each parameter's is stored where the parameter is
        nesterov=False,
        ns_steps=steps,
        weight_dimension_numbers=optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2),
    )
    return alone.update(stack_NIO, alone.init(stack_NIO))[0]


def _nesterov(grads: Any, momentum: Any, beta: Float[Array, ""], count: jax.Array) -> Any:
    """The momentum as the next gradient would find it, both without their bias towards zero, as optax has it."""
    ahead = optax.tree.bias_correction(momentum, beta, count + 1)
    now = optax.tree.bias_correction(grads, beta, count)
    return jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, ahead, now)


def _lying(matrix: jax.Array) -> jax.Array:
    """The matrix, or its transpose if it has more rows than columns: the result's transpose is the same."""
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def _flat(tree: Any) -> dict[Path, Any]:
    return traverse_util.flatten_dict(tree)
