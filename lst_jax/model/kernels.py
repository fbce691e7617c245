"""Self-attention within documents, causal or in a sliding window: one function, and the kernel of each platform.

    platform   kernel                                      where it cannot be used
    cpu        `attention.blocked_attention`, plain XLA
    tpu        `flat_attention`, our Pallas kernel         splash attention: very long rows, heads beside 128 lanes
               splash attention (Pallas)                   blocked: rows shorter than a tile
    gpu        cuDNN flash attention, packed documents     blocked: float32, and rows of very many documents

All kernels equal one oracle (`tests/model/test_kernels.py`). Cross-attention is in `own_patch` and `attention`.

Pallas, splash attention and packed cuDNN attention are no stable part of JAX's interface. `flat_library`,
`splash_library` and `cudnn_library` are the only functions that import them. Where this version of JAX lacks what they
need, the next kernel of the table runs, and one warning says so.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from types import ModuleType

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Float, Int
from lst_jax.model.attention import SAVED_ATTENTION, blocked_attention
from lst_jax.model.rotary import Theta, rope

# (q_BTHK, k_BTHK, v_BTHK, doc_id_BT, theta, window | None, block) -> out_BTHK. Queries and keys are rotated here, by
# theta (`rotary.rope`). Document 0 is padding and gives zeros.
SelfAttention = Callable[..., Float[Array, "B T H K"]]
SPLASH_TILE = 512  # positions; the default of MaxText and of the kernel's authors for v5p, a multiple of 128 lanes
LANES = 128
CUDNN_DOCUMENTS = 128  # in a row; more than these go to the blocked kernel


def for_platform(platform: str) -> SelfAttention:
    """The kernel for "cpu", "gpu" or "tpu" devices; anything else gets the blocked one, which runs everywhere."""
    return {"tpu": flat, "gpu": cudnn}.get(platform, blocked)


def blocked(
    q_BTHK: Float[Array, "B T H K"],
    k_BTHK: Float[Array, "B T H K"],
    v_BTHK: Float[Array, "B T H K"],
    doc_id_BT: Int[Array, "B T"],
    theta: Theta,
    window: int | None,
    block: int,
) -> Float[Array, "B T H K"]:
    """The kernel that runs everywhere: blocks of `block` positions in plain XLA operations."""
    position_BT = jnp.broadcast_to(jnp.arange(q_BTHK.shape[1]), doc_id_BT.shape)
    q_BTHK, k_BTHK = rope(q_BTHK, theta), rope(k_BTHK, theta)
    return blocked_attention(q_BTHK, k_BTHK, v_BTHK, position_BT, position_BT, doc_id_BT, doc_id_BT, window, block)


def flat(
    q_BTHK: Float[Array, "B T H K"],
    k_BTHK: Float[Array, "B T H K"],
    v_BTHK: Float[Array, "B T H K"],
    doc_id_BT: Int[Array, "B T"],
    theta: Theta,
    window: int | None,
    block: int,
    interpret: bool = False,
) -> Float[Array, "B T H K"]:
    """Our kernel for TPUs. Longer rows, and heads that do not fill its lanes, go to splash attention."""
    b, t, h, k = q_BTHK.shape
    library = flat_library()
    if library is None or not library.takes(t, h, k, window, q_BTHK.dtype.itemsize):
        return splash(q_BTHK, k_BTHK, v_BTHK, doc_id_BT, theta, window, block, interpret)
    q_BTE, k_BTE, v_BTE = (x.reshape(b, t, h * k) for x in (q_BTHK, k_BTHK, v_BTHK))
    out_BTE = library.flat_attention(q_BTE, k_BTE, v_BTE, doc_id_BT, k, theta, window, interpret)
    return out_BTE.reshape(b, t, h, k)


def splash(
    q_BTHK: Float[Array, "B T H K"],
    k_BTHK: Float[Array, "B T H K"],
    v_BTHK: Float[Array, "B T H K"],
    doc_id_BT: Int[Array, "B T"],
    theta: Theta,
    window: int | None,
    block: int,
    interpret: bool = False,
) -> Float[Array, "B T H K"]:
    """The sparse flash kernel for TPUs. It has tiles of its own; `block` is for the blocked kernel in its place."""
    _, t, h, k = q_BTHK.shape
    library = splash_library()
    if t < LANES or library is None:
        return blocked(q_BTHK, k_BTHK, v_BTHK, doc_id_BT, theta, window, block)
    tile = min(SPLASH_TILE, -(-t // LANES) * LANES)
    pad = -t % tile
    kernel = _splash_kernel(library, h, t + pad, window, tile, interpret)
    q_BTHK, k_BTHK = rope(q_BTHK, theta) * jnp.asarray(k**-0.5, q_BTHK.dtype), rope(k_BTHK, theta)
    q_BHTK, k_BHTK, v_BHTK = (
        jnp.pad(a, ((0, 0), (0, pad), (0, 0), (0, 0))).swapaxes(1, 2) for a in (q_BTHK, k_BTHK, v_BTHK)
    )
    doc_BT = jnp.pad(doc_id_BT, ((0, 0), (0, pad))).astype(jnp.int32)
    out_BHTK = jax.vmap(kernel)(q_BHTK, k_BHTK, v_BHTK, doc_BT)
    return _real(out_BHTK.swapaxes(1, 2)[:, :t], doc_id_BT)


def _splash_kernel(lib: ModuleType, heads: int, length: int, window: int | None, tile: int, interpret: bool):
    if window is None or window >= length:
        mask = lib.CausalMask((length, length))
    else:
        mask = lib.LocalMask((length, length), (window - 1, 0), 0)
    sizes = lib.BlockSizes(
        block_q=tile,
        block_kv=tile,
        block_kv_compute=tile,
        block_q_dkv=tile,
        block_kv_dkv=tile,
        block_kv_dkv_compute=tile,
        use_fused_bwd_kernel=True,
    )
    kernel = lib.make_splash_mha(
        lib.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=SAVED_ATTENTION,
        interpret=interpret,
    )
    return lambda q_HTK, k_HTK, v_HTK, doc_T: kernel(q_HTK, k_HTK, v_HTK, lib.SegmentIds(doc_T, doc_T))


def cudnn(
    q_BTHK: Float[Array, "B T H K"],
    k_BTHK: Float[Array, "B T H K"],
    v_BTHK: Float[Array, "B T H K"],
    doc_id_BT: Int[Array, "B T"],
    theta: Theta,
    window: int | None,
    block: int,
) -> Float[Array, "B T H K"]:
    """cuDNN's flash kernel over packed documents (its `THD` layout), for bfloat16 and float16."""
    plain = functools.partial(blocked, theta=theta, window=window, block=block)
    library = cudnn_library()
    if q_BTHK.dtype == jnp.float32 or library is None:  # the kernel does not compute in float32
        return plain(q_BTHK, k_BTHK, v_BTHK, doc_id_BT)
    fits = jnp.max(doc_id_BT) <= CUDNN_DOCUMENTS
    packed = functools.partial(_cudnn_packed, library, theta=theta, window=window)
    return jax.lax.cond(fits, packed, plain, q_BTHK, k_BTHK, v_BTHK, doc_id_BT)


def _cudnn_packed(library: ModuleType, q_BTHK, k_BTHK, v_BTHK, doc_id_BT, theta, window):
    q_BTHK, k_BTHK = rope(q_BTHK, theta), rope(k_BTHK, theta)
    length_BM, offset_BN = packed_documents(doc_id_BT, CUDNN_DOCUMENTS)
    # The kernel does not write the results and gradients of padding. They are replaced by zeros on both sides.
    q_BTHK, k_BTHK, v_BTHK = (_real(a, doc_id_BT) for a in (q_BTHK, k_BTHK, v_BTHK))
    out_BTHK = library.dot_product_attention(
        q_BTHK,
        k_BTHK,
        v_BTHK,
        q_seqlen=length_BM,
        kv_seqlen=length_BM,
        q_offsets=offset_BN,
        kv_offsets=offset_BN,
        scale=q_BTHK.shape[-1] ** -0.5,
        mask_type=library.MaskType.PADDING_CAUSAL,
        sliding_window_length=window,
    )
    return _real(out_BTHK, doc_id_BT)


@functools.cache
def flat_library() -> ModuleType | None:
    """Our kernels (`flat_attention`); None, with a warning, where this version of JAX lacks what they need of Pallas."""
    try:
        from jax.experimental import pallas
        from jax.experimental.pallas import tpu

        _require(tpu, "CompilerParams", "PrefetchScalarGridSpec", "VMEM", "roll")
        _require_arguments(pallas.CostEstimate, "flops", "transcendentals", "bytes_accessed")
        _require_arguments(tpu.CompilerParams, "dimension_semantics", "vmem_limit_bytes")
        from lst_jax.model import flat_attention

        return flat_attention
    except (ImportError, AttributeError) as error:
        return _instead("Pallas", error, "splash attention")


@functools.cache
def splash_library() -> ModuleType | None:
    """JAX's splash attention; None, with a warning, where this version of JAX lacks what `splash` needs of it."""
    try:
        from jax.experimental.pallas.ops.tpu import splash_attention as library

        _require(library, "CausalMask", "LocalMask", "MultiHeadMask", "SegmentIds")
        _require_arguments(
            library.make_splash_mha,
            "block_sizes",
            "head_shards",
            "q_seq_shards",
            "residual_checkpoint_name",
            "interpret",
        )
        _require_arguments(library.BlockSizes, "block_q", "block_kv_dkv_compute", "use_fused_bwd_kernel")
        return library
    except (ImportError, AttributeError) as error:
        return _instead("splash attention", error, "the blocked kernel")


@functools.cache
def cudnn_library() -> ModuleType | None:
    """JAX's cuDNN attention; None, with a warning, where this version of JAX lacks what `cudnn` needs of it.

    The public `jax.nn.dot_product_attention` offers this kernel without packed documents only.
    """
    try:
        from jax._src.cudnn import fused_attention_stablehlo as library

        _require(library.MaskType, "PADDING_CAUSAL")
        _require_arguments(
            library.dot_product_attention,
            "q_seqlen",
            "kv_seqlen",
            "q_offsets",
            "kv_offsets",
            "scale",
            "mask_type",
            "sliding_window_length",
        )
        return library
    except (ImportError, AttributeError) as error:
        return _instead("cuDNN attention over packed documents", error, "the blocked kernel")


def _require(owner, *names: str) -> None:
    for name in names:
        getattr(owner, name)


def _require_arguments(function: Callable, *names: str) -> None:
    """Raises AttributeError where the function takes no argument of one of these names."""
    if missing := set(names) - set(inspect.signature(function).parameters):
        raise AttributeError(f"{function} takes no argument {', '.join(sorted(missing))}")


def _instead(what: str, error: Exception, other: str) -> None:
    warnings.warn(
        f"jax {jax.__version__}: has no {what} of the form that lst_jax knows ({error}); self-attention uses {other}, "
        "which is slower; use a version of JAX that requirements.txt names",
        RuntimeWarning,
        stacklevel=2,
    )


def packed_documents(doc_id_BT: Int[Array, "B T"], limit: int) -> tuple[Int[Array, "B M"], Int[Array, "B N"]]:
    """Lengths of documents 1..`limit` of each row, and where they begin and the last one ends; -1 where there is none.

    Example: [[1, 1, 2, 0]], 3 -> [[2, 1, -1]], [[0, 2, 3, -1]]
    """
    number_M = jnp.arange(1, limit + 1)
    length_BM = (doc_id_BT[:, :, None] == number_M).sum(1, dtype=jnp.int32)
    end_BM = jnp.cumsum(length_BM, 1)
    some_BM = length_BM > 0
    offset_BN = jnp.concatenate([jnp.zeros_like(end_BM[:, :1]), jnp.where(some_BM, end_BM, -1)], 1)
    return jnp.where(some_BM, length_BM, -1), offset_BN.astype(jnp.int32)


def _real(x_BTHK, doc_id_BT):
    return jnp.where((doc_id_BT != 0)[:, :, None, None], x_BTHK, 0)
