"""From patches to their tokens and back: rows of features by the patch index of each token.

    to_tokens      out[b, t] = x[b, patch[b, t]]                   to_patches   out[b, u] = Σ x[b, t] over its tokens
    patch_maxima   out[b, u] = max x[b, t] over its tokens

An index outside 0..U-1 means "no patch": it gives zeros, and is left out of sums and maxima. The tokens of a patch lie
side by side, and indices grow by at most 1 per token where they are patches.

Every platform has two forms to choose from, with equal results. Gathers and scatters are the faster ones on CPUs. On
TPUs they run row by row. There a block of 128 tokens meets at most 129 patches in a run, which lie in two aligned blocks
of 128 patches: a product with a matrix of 0 and 1 selects or sums them exactly on the matrix unit.
"""

import functools

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Float, Int

BLOCK = 128  # tokens, and patches; the side of the matrix unit
MATRIX_UNIT_PLATFORMS = ("tpu",)  # those that compute with products instead of gathers and scatters


def gather(x_BU, patch_BT):
    """`x[b, patch[b, t]]` over any trailing dimensions; zeros where the index is no patch; any indices."""
    rows_B1 = jnp.arange(x_BU.shape[0])[:, None]
    return x_BU.at[rows_B1, patch_BT].get(mode="fill", fill_value=0, wrap_negative_indices=False)


def scatter_sum(x_BT, patch_BT, sums_BU):
    """`sums` with each `x[b, t]` added at `[b, patch[b, t]]`; indices that are no patch are dropped."""
    rows_B1 = jnp.arange(x_BT.shape[0])[:, None]
    return sums_BU.at[rows_B1, patch_BT].add(x_BT, mode="drop", wrap_negative_indices=False)


@jax.custom_vjp
def to_tokens(x_BUC: Float[Array, "B U C"], patch_BT: Int[Array, "B T"]) -> Float[Array, "B T C"]:
    """The features of each token's patch."""
    return _by_platform(_select_by_product, gather, x_BUC, patch_BT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def to_patches(x_BTC: Float[Array, "B T C"], patch_BT: Int[Array, "B T"], row_patches: int) -> Float[Array, "B U C"]:
    """The sums of features over the tokens of each of the `row_patches` patches; in float32 inside."""
    product, scatter = (functools.partial(form, row_patches=row_patches) for form in (_sum_by_product, _sum_by_scatter))
    return _by_platform(product, scatter, x_BTC, patch_BT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def patch_maxima(x_BTC: Float[Array, "B T C"], patch_BT: Int[Array, "B T"], row_patches: int) -> Float[Array, "B U C"]:
    """The largest value of every feature in each of the `row_patches` patches; zeros where there is no patch.

    Tokens that share the largest value share its gradient.
    """
    product, scatter = (functools.partial(form, row_patches=row_patches) for form in (_max_by_product, _max_by_scatter))
    return _by_platform(product, scatter, x_BTC, patch_BT)


def exact_product(pattern: str, x: Array, selection, dtype) -> Array:
    """The einsum of `x` and a matrix of 0 and 1, as `dtype`: float32 on a TPU too is not rounded before it is summed."""
    precision = "highest" if x.dtype == jnp.float32 else None
    return jnp.einsum(pattern, x, jnp.asarray(selection, x.dtype), precision=precision, preferred_element_type=dtype)


def _by_platform(product, plain, *arrays):
    return jax.lax.platform_dependent(*arrays, default=plain, **dict.fromkeys(MATRIX_UNIT_PLATFORMS, product))


# ---- gradients: selecting and summing are each other's ----


def _to_tokens_forward(x_BUC, patch_BT):
    return to_tokens(x_BUC, patch_BT), (patch_BT, jnp.zeros((0, x_BUC.shape[1])))


def _to_tokens_backward(saved, change_BTC):
    patch_BT, shape = saved
    return to_patches(change_BTC, patch_BT, shape.shape[1]), None


def _to_patches_forward(x_BTC, patch_BT, row_patches):
    return to_patches(x_BTC, patch_BT, row_patches), patch_BT


def _to_patches_backward(row_patches, patch_BT, change_BUC):
    return to_tokens(change_BUC, patch_BT), None


def _maxima_forward(x_BTC, patch_BT, row_patches):
    max_BUC = patch_maxima(x_BTC, patch_BT, row_patches)
    return max_BUC, (x_BTC, patch_BT, max_BUC)


def _maxima_backward(row_patches, saved, change_BUC):
    x_BTC, patch_BT, max_BUC = saved
    largest_BTC = (x_BTC == to_tokens(max_BUC, patch_BT)).astype(x_BTC.dtype)
    count_BUC = to_patches(largest_BTC, patch_BT, row_patches)
    return largest_BTC * to_tokens(change_BUC / jnp.maximum(count_BUC, 1), patch_BT), None


to_tokens.defvjp(_to_tokens_forward, _to_tokens_backward)
to_patches.defvjp(_to_patches_forward, _to_patches_backward)
patch_maxima.defvjp(_maxima_forward, _maxima_backward)


# ---- by scatter ----


def _sum_by_scatter(x_BTC, patch_BT, row_patches):
    b, _, c = x_BTC.shape
    zeros_BUC = jnp.zeros((b, row_patches, c), jnp.float32)
    return scatter_sum(x_BTC.astype(jnp.float32), patch_BT, zeros_BUC).astype(x_BTC.dtype)


def _max_by_scatter(x_BTC, patch_BT, row_patches):
    b, _, c = x_BTC.shape
    low_BUC = jnp.full((b, row_patches, c), -jnp.inf, x_BTC.dtype)
    max_BUC = low_BUC.at[jnp.arange(b)[:, None], patch_BT].max(x_BTC, mode="drop", wrap_negative_indices=False)
    return jnp.where(max_BUC == -jnp.inf, 0, max_BUC)


# ---- by product: N blocks of S = BLOCK tokens, M blocks of R = BLOCK patches ----


def _select_by_product(x_BUC, patch_BT):
    (b, u, c), t = x_BUC.shape, patch_BT.shape[1]
    block_BN, halves = _selections(patch_BT, u)
    x_BMRC = _in_blocks(x_BUC)
    out_BNSC = sum(
        exact_product("bnrc,bnsr->bnsc", gather(x_BMRC, block_BN + half), selection_BNSR, x_BUC.dtype)
        for half, selection_BNSR in enumerate(halves)
    )
    return out_BNSC.reshape(b, -1, c)[:, :t]


def _sum_by_product(x_BTC, patch_BT, row_patches):
    b, _, c = x_BTC.shape
    block_BN, halves = _selections(patch_BT, row_patches)
    x_BNSC = _in_blocks(x_BTC)
    sum_BMRC = jnp.zeros((b, -(-row_patches // BLOCK), BLOCK, c), jnp.float32)
    for half, selection_BNSR in enumerate(halves):
        part_BNRC = exact_product("bnsc,bnsr->bnrc", x_BNSC, selection_BNSR, jnp.float32)
        sum_BMRC = scatter_sum(part_BNRC, block_BN + half, sum_BMRC)
    return sum_BMRC.reshape(b, -1, c)[:, :row_patches].astype(x_BTC.dtype)


def _max_by_product(x_BTC, patch_BT, row_patches):
    """Running maxima within patches, by steps of 1, 2, 4, … tokens; the last token of a patch has the patch's own."""
    t, distance = x_BTC.shape[1], 1
    while distance < t:
        same_BT1 = (patch_BT[:, distance:] == patch_BT[:, :-distance])[..., None]
        before_BTC = jnp.where(same_BT1, x_BTC[:, :-distance], -jnp.inf)
        x_BTC = jnp.maximum(x_BTC, jnp.pad(before_BTC, ((0, 0), (distance, 0), (0, 0)), constant_values=-jnp.inf))
        distance *= 2
    is_last_BT = jnp.pad(patch_BT[:, 1:] != patch_BT[:, :-1], ((0, 0), (0, 1)), constant_values=True)
    return _sum_by_product(x_BTC, jnp.where(is_last_BT, patch_BT, row_patches), row_patches)


def _selections(patch_BT, row_patches):
    """The first of the two blocks of patches that each block of tokens meets, and a matrix of 0 and 1 for either."""
    patch_BNS = _in_blocks(patch_BT, row_patches)
    real_BNS = (patch_BNS >= 0) & (patch_BNS < row_patches)
    block_BN = jnp.where(real_BNS, patch_BNS, row_patches - 1).min(-1) // BLOCK
    place_BNS = jnp.where(real_BNS, patch_BNS - block_BN[..., None] * BLOCK, -1)
    matrices = [place_BNS[..., None] == jnp.arange(BLOCK) + half * BLOCK for half in (0, 1)]
    return block_BN, matrices


def _in_blocks(x_BN, fill=0):
    """Rows of positions in blocks of `BLOCK`, the last one filled up."""
    b, n, *rest = x_BN.shape
    x_BN = jnp.pad(x_BN, ((0, 0), (0, -n % BLOCK), *[(0, 0)] * len(rest)), constant_values=fill)
    return x_BN.reshape(b, -1, BLOCK, *rest)
