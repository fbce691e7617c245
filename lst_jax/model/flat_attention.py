"""Self-attention for TPUs over flat features: rotation, scores, softmax and weighted values in one Pallas kernel each way.

Arrays are [B, T, E] as projections give and take them, so that nothing is transposed or padded around a kernel. A block
of 128 lanes holds G = 128 / K heads side by side. The kernels visit the tiles of queries of a row in order, and keep the
rotated keys, and the values, of the tiles so far on the chip. Their inner loops run from the first tile that a query of
the tile can see: tiles of other documents, or beyond the window, cost nothing.

Rows may be long. With a window, the forward kernel keeps only the tiles that the window reaches, in a ring. The backward
kernel takes the keys of a long row in chunks, and visits the queries that can see a chunk; their gradients from all
chunks are added up behind it. Rotations come from two small tables, of the positions in a tile and of the tiles' starts.

Scores are computed transposed, keys by queries. So maxima, sums and the bounds of what a query sees are rows, and no
product needs a transposed operand of its own. In names here S are the queries of a tile, R the keys of one, C = 128.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lst_jax.core.shapes import Array, Float, Int, ndarray
from lst_jax.model.attention import MASKED, SAVED_ATTENTION
from lst_jax.model.rotary import Theta, frequencies

TILE = 512  # positions; as the tiles of splash attention
LANES = 128
KEY_BYTES = 2**24  # of the keys that a forward pass holds, and of the values: 65,536 positions in bfloat16
CHUNK_BYTES = 2**21  # of the keys whose gradients a backward pass holds: 8,192 positions in bfloat16
VMEM_BYTES = 60 * 2**20


def takes(length: int, heads: int, width: int, window: int | None, item_bytes: int) -> bool:
    """Whether the kernels can compute rows of this length, with so many heads of this width and bytes per number."""
    fits = window is not None or length * LANES * item_bytes <= KEY_BYTES
    return LANES <= length and fits and LANES % width == 0 and heads * width % LANES == 0


def flat_attention(
    q_BTE: Float[Array, "B T E"],
    k_BTE: Float[Array, "B T E"],
    v_BTE: Float[Array, "B T E"],
    doc_id_BT: Int[Array, "B T"],
    width: int,
    theta: Theta,
    window: int | None,
    interpret: bool = False,
) -> Float[Array, "B T E"]:
    """Attention within contiguous documents over rotated queries and keys; document 0 is padding and gives zeros.

    Args: `width` of a head; `theta` of the rotation (`rotary.rope`); `window` as in `attention.blocked_attention`.
    """
    t = q_BTE.shape[1]
    tile = min(TILE, -(-t // LANES) * LANES)
    pad = -t % tile
    q_BTE, k_BTE, v_BTE = (jnp.pad(x, ((0, 0), (0, pad), (0, 0))) for x in (q_BTE, k_BTE, v_BTE))
    low_BT = first_key(jnp.pad(doc_id_BT, ((0, 0), (0, pad))), window)
    plan = Plan(t + pad, tile, width, window, q_BTE.dtype.itemsize, interpret)
    return _attend(q_BTE, k_BTE, v_BTE, low_BT, rotation(plan.tiles, tile, width, theta), plan)[:, :t]


def first_key(doc_id_BT: Int[Array, "B T"], window: int | None) -> Int[Array, "B T"]:
    """The first position that each position sees; T, beyond all of them, for padding.

    Example: [[1, 1, 2, 2, 2, 0]], 2 -> [[0, 0, 2, 2, 3, 6]]
    """
    t = doc_id_BT.shape[1]
    place_T = jnp.arange(t, dtype=jnp.int32)
    begins_BT = doc_id_BT != jnp.pad(doc_id_BT[:, :-1], ((0, 0), (1, 0)))
    low_BT = jax.lax.cummax(jnp.where(begins_BT, place_T, 0), axis=1)
    low_BT = low_BT if window is None else jnp.maximum(low_BT, place_T - window + 1)
    return jnp.where(doc_id_BT != 0, low_BT, t)


def rotation(tiles: int, tile: int, width: int, theta: Theta) -> tuple[Float[ndarray, "_ C"], ...]:
    """Cosines and sines of a rotation (`rotary.rope`): of the positions in a tile, [S, C], and of the first of each tile.

    A lane is multiplied by the cosine, and its neighbour in its pair by the sine, which has the sign of the lane in it.
    The sum of two angles of a lane has the cosine c·c' - s·s' and the sine s·c' + c·s', whatever the sign.
    """
    frequency_C = frequencies(theta, width)[np.arange(LANES) % width // 2]
    sign_C = np.where(np.arange(LANES) % 2 == 0, -1.0, 1.0)
    angles = (positions[:, None] * frequency_C for positions in (np.arange(tile), np.arange(tiles) * tile))
    return tuple(x.astype(np.float32) for angle_NC in angles for x in (np.cos(angle_NC), np.sin(angle_NC) * sign_C))


class Plan:
    """Static sizes of a call: positions of a row and of a tile, lanes of a head, and what is on the chip at a time."""

    def __init__(self, length: int, tile: int, width: int, window: int | None, item_bytes: int, interpret: bool):
        self.key = (length, tile, width, window, item_bytes, interpret)
        self.length, self.tile, self.width, self.window, _, self.interpret = self.key
        self.tiles = length // tile
        self.heads = LANES // width  # of a block of lanes
        self.scale = width**-0.5
        reached = self.tiles if window is None else (window + tile - 2) // tile + 1
        self.seen = min(self.tiles, reached)  # most tiles of keys that a tile of queries can see
        self.chunks = -(-length // (CHUNK_BYTES // (LANES * item_bytes)))  # of keys, in a backward pass
        self.chunk = -(-self.tiles // self.chunks)  # its tiles
        self.visits = min(self.tiles, self.chunk + self.seen - 1)  # most tiles of queries that can see a chunk

    def __eq__(self, other):
        return isinstance(other, Plan) and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    def flops(self, products: int, rows: int, features: int) -> int:
        """Of so many products per pair of tiles that can see one another, as if rows were one document each."""
        pairs = sum(min(i + 1, self.seen) for i in range(self.tiles))
        return 2 * products * rows * features * pairs * self.tile**2


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attend(q_BTE, k_BTE, v_BTE, low_BT, factors, plan):
    return _attend_forward(q_BTE, k_BTE, v_BTE, low_BT, factors, plan)[0]


def _attend_forward(q_BTE, k_BTE, v_BTE, low_BT, factors, plan):
    (b, t, e), tile = q_BTE.shape, plan.tile
    rows, low, lse = _tiles_of_a_row(plan, lambda i, first: i)
    lse_shape = (b, e // LANES, plan.heads, t)
    out_BTE, lse_BNGT = _call(
        _forward_kernel,
        plan,
        q_BTE,
        grid=(plan.tiles,),
        products=2,
        in_specs=[rows, rows, rows, low, *_whole(factors)],
        out_specs=[rows, lse],
        out_shape=[jax.ShapeDtypeStruct(q_BTE.shape, q_BTE.dtype), jax.ShapeDtypeStruct(lse_shape, jnp.float32)],
        scratch=[((plan.seen, tile, LANES), k_BTE.dtype), ((plan.seen, LANES, tile), v_BTE.dtype)],
    )(_first_tiles(low_BT, tile), q_BTE, k_BTE, v_BTE, low_BT[:, None], *factors)
    out_BTE, lse_BNGT = (checkpoint_name(a, SAVED_ATTENTION) for a in (out_BTE, lse_BNGT))
    return out_BTE, (q_BTE, k_BTE, v_BTE, low_BT, factors, out_BTE, lse_BNGT)


def _attend_backward(plan, saved, dout_BTE):
    q_BTE, k_BTE, v_BTE, low_BT, factors, out_BTE, lse_BNGT = saved
    (b, t, e), tile, chunk, dtype = q_BTE.shape, plan.tile, plan.chunk, q_BTE.dtype
    last = plan.tiles - 1
    rows, low, lse = _tiles_of_a_row(plan, lambda c, at, first: jnp.minimum(c * chunk + at, last))
    keys, _, _ = _tiles_of_a_row(plan, lambda c, at, first: jnp.minimum(c * chunk + jnp.minimum(at, chunk - 1), last))
    # beyond the row the tile before stays where it is
    part = pl.BlockSpec((1, 1, tile, LANES), lambda b, n, c, at, first: (c, b, jnp.minimum(at, last - c * chunk), n))
    whole = pl.BlockSpec((1, chunk * tile, LANES), lambda b, n, c, at, first: (b, c, n))
    padded = jax.ShapeDtypeStruct((b, plan.chunks * chunk * tile, e), dtype)
    dq_CBTE, dk_BTE, dv_BTE = _call(
        _backward_kernel,
        plan,
        q_BTE,
        grid=(plan.chunks, plan.visits),
        products=5,
        in_specs=[rows, keys, keys, rows, rows, lse, low, *_whole(factors)],
        out_specs=[part, whole, whole],
        out_shape=[jax.ShapeDtypeStruct((plan.chunks, b, plan.visits * tile, e), dtype), padded, padded],
        scratch=[
            ((chunk, tile, LANES), dtype),
            ((chunk, LANES, tile), dtype),
            ((chunk, tile, LANES), dtype),
            ((chunk, tile, LANES), jnp.float32),
            ((chunk, tile, LANES), jnp.float32),
        ],
    )(_first_tiles(low_BT, tile), q_BTE, k_BTE, v_BTE, out_BTE, dout_BTE, lse_BNGT, low_BT[:, None], *factors)
    return _over_chunks(plan, dq_CBTE), dk_BTE[:, :t], dv_BTE[:, :t], None, None


_attend.defvjp(_attend_forward, _attend_backward)


def _over_chunks(plan, part_CBTE):
    """The gradients of all queries: the sums of what the chunks of keys give them."""
    if plan.chunks == 1:
        return part_CBTE[0]
    _, b, _, e = part_CBTE.shape
    sum_BTE = jnp.zeros((b, plan.length, e), jnp.float32)
    for c in range(plan.chunks):
        start = c * plan.chunk * plan.tile
        end = min(plan.length, start + plan.visits * plan.tile)
        sum_BTE = sum_BTE.at[:, start:end].add(part_CBTE[c, :, : end - start].astype(jnp.float32))
    return sum_BTE.astype(part_CBTE.dtype)


def _call(kernel, plan, q_BTE, grid, products, in_specs, out_specs, out_shape, scratch):
    """The kernel over rows, blocks of lanes, and `grid`, which is walked in order."""
    b, t, e = q_BTE.shape
    arrays = [*[q_BTE] * sum(spec.block_shape == (1, plan.tile, LANES) for spec in in_specs), *out_shape]
    pairs = plan.flops(1, b, e) // 2 // plan.width
    return pl.pallas_call(
        functools.partial(kernel, plan),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(b, e // LANES, *grid),
            in_specs=in_specs,
            out_specs=out_specs,
            scratch_shapes=[pltpu.VMEM(shape, dtype) for shape, dtype in scratch],
        ),
        out_shape=out_shape,
        interpret=plan.interpret,
        name=kernel.__name__.strip("_").replace("kernel", "flat_attention"),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", *["arbitrary"] * len(grid)), vmem_limit_bytes=VMEM_BYTES
        ),
        cost_estimate=pl.CostEstimate(
            flops=plan.flops(products, b, e),
            transcendentals=pairs,
            bytes_accessed=sum(x.size * x.dtype.itemsize for x in arrays),
        ),
    )


def _tiles_of_a_row(plan: Plan, tile_at):
    """Where a step of the grid finds the features of a tile, bounds of what it sees, and its log-sum-exp.

    Args: `tile_at` gives the number of the tile for the steps behind rows and blocks of lanes.
    """
    tile = plan.tile
    return (
        pl.BlockSpec((1, tile, LANES), lambda b, n, *step: (b, tile_at(*step), n)),
        pl.BlockSpec((1, 1, tile), lambda b, n, *step: (b, 0, tile_at(*step))),
        pl.BlockSpec((1, 1, plan.heads, tile), lambda b, n, *step: (b, n, 0, tile_at(*step))),
    )


def _whole(tables):
    return [pl.BlockSpec(table.shape, lambda *step: (0, 0)) for table in tables]


def _first_tiles(low_BT, tile: int):
    """The first tile of keys that each tile of queries sees; beyond its own where it is all padding."""
    b, t = low_BT.shape
    return low_BT.reshape(b, t // tile, tile).min(-1) // tile


# ---- inside the kernels ----


def _forward_kernel(plan, first, q, k, v, low, cos, sin, tile_cos, tile_sin, out, lse, keys, values):
    """One tile of queries over all tiles of keys from the first that it sees up to its own."""
    i, slot = pl.program_id(2), functools.partial(_slot, plan)
    angle = _angle(i, cos, sin, tile_cos, tile_sin)
    keys[slot(i)] = _rotated(k[0], *angle)
    values[slot(i)] = _turned(v[0])
    q_GSC = _by_head(plan, _rotated(q[0], *angle))
    low_1S = low[0]

    def key_tile(j, carry):
        k_RC, v_CR = keys[slot(j)], values[slot(j)]
        visible_RS = _visible(plan, i, j, low_1S)
        return tuple(
            _online(plan, *state, _scores(plan, k_RC, q_SC), visible_RS, _head_rows(plan, v_CR, g))
            for g, (state, q_SC) in enumerate(zip(carry, q_GSC, strict=True))
        )

    row_1S = jnp.zeros((1, plan.tile), jnp.float32)
    start = (row_1S + MASKED, row_1S, jnp.zeros((plan.width, plan.tile), jnp.float32))
    states = jax.lax.fori_loop(first[pl.program_id(0), i], i + 1, key_tile, (start,) * plan.heads)
    safe = [jnp.where(sum_1S == 0, 1, sum_1S) for _, sum_1S, _ in states]  # no visible key: 0 / 1
    out_CS = jnp.concatenate([acc_KS / s for s, (_, _, acc_KS) in zip(safe, states, strict=True)], 0)
    out[0] = out_CS.T.astype(out.dtype)
    lse[0, 0] = jnp.concatenate([m + jnp.log(s) for s, (m, _, _) in zip(safe, states, strict=True)], 0)


def _slot(plan, j):
    """Where the forward kernel keeps the keys of a tile: those that no later tile can see are overwritten."""
    return j if plan.seen == plan.tiles else jax.lax.rem(j, plan.seen)


def _online(plan, max_1S, sum_1S, acc_KS, s_RS, visible_RS, v_KR):
    """The running maximum, sum and weighted values of one head with one tile of keys more."""
    new_1S = jnp.maximum(max_1S, jnp.where(visible_RS, s_RS, MASKED).max(0, keepdims=True))
    p_RS = jnp.where(visible_RS, jnp.exp(s_RS - new_1S), 0)
    decay_1S = jnp.exp(max_1S - new_1S)
    pv_KS = _product(v_KR, p_RS.astype(v_KR.dtype))
    return new_1S, sum_1S * decay_1S + p_RS.sum(0, keepdims=True), acc_KS * decay_1S + pv_KS


def _backward_kernel(plan, first, *refs):
    """One tile of queries: its own gradient, and what it adds to those of the keys and values of a chunk that it sees."""
    q, k, v, out, dout, lse, low, cos, sin, tile_cos, tile_sin, dq, dk, dv, *kept = refs
    keys, keys_turned, values, dkeys, dvalues = kept
    row, begin, at = pl.program_id(0), pl.program_id(2) * plan.chunk, pl.program_id(3)
    i = begin + at
    angle_of = functools.partial(_angle, cos=cos, sin=sin, tile_cos=tile_cos, tile_sin=tile_sin)
    angle = angle_of(i)

    @_where(at < plan.chunk, always=plan.visits == plan.chunk)
    def _():
        keys[at] = _rotated(k[0], *angle)
        keys_turned[at] = _turned(keys[at])
        values[at] = v[0]
        dkeys[at] = jnp.zeros_like(dkeys[at])
        dvalues[at] = jnp.zeros_like(dvalues[at])

    @_where(i < plan.tiles, always=plan.chunks == 1)
    def _():
        q_GSC, dout_GSC = _by_head(plan, _rotated(q[0], *angle)), _by_head(plan, dout[0])
        delta_GS = _head_sums(plan, out[0].astype(jnp.float32) * dout[0].astype(jnp.float32))
        low_1S, lse_GS = low[0], lse[0, 0]

        def key_tile(j, dq_GKS):
            slot = j - begin
            k_RC, k_CR, v_RC = keys[slot], keys_turned[slot], values[slot]
            visible_RS = _visible(plan, i, j, low_1S)
            found = []
            for g, (q_SC, dout_SC) in enumerate(zip(q_GSC, dout_GSC, strict=True)):
                s_RS = _scores(plan, k_RC, q_SC)
                p_RS = jnp.where(visible_RS, jnp.exp(s_RS - lse_GS[g : g + 1]), 0)
                dvalues[slot] += _product(p_RS.astype(v_RC.dtype), dout_SC)
                ds_RS = p_RS * (_product(v_RC, dout_SC, turned=True) - delta_GS[g : g + 1]) * plan.scale
                ds_RS = ds_RS.astype(k_RC.dtype)
                dkeys[slot] += _product(ds_RS, q_SC)
                found.append(dq_GKS[g] + _product(_head_rows(plan, k_CR, g), ds_RS))
            return tuple(found)

        start = (jnp.zeros((plan.width, plan.tile), jnp.float32),) * plan.heads
        low_tile = jnp.maximum(first[row, i], begin)
        dq_CS = jnp.concatenate(jax.lax.fori_loop(low_tile, jnp.minimum(i + 1, begin + plan.chunk), key_tile, start), 0)
        dq[0, 0] = _rotated(dq_CS.T, *angle, back=True).astype(dq.dtype)

    @pl.when(at == plan.visits - 1)
    def _():
        for slot in range(plan.chunk):
            there = pl.ds(slot * plan.tile, plan.tile)
            dk[0, there, :] = _rotated(dkeys[slot], *angle_of(begin + slot), back=True).astype(dk.dtype)
            dv[0, there, :] = dvalues[slot].astype(dv.dtype)


def _where(condition, always: bool):
    """`pl.when`, without a branch where the condition is known to hold."""
    return (lambda body: body()) if always else pl.when(condition)


def _angle(i, cos, sin, tile_cos, tile_sin):
    """Cosines and sines of the positions of tile i (`rotation`)."""
    i = jnp.minimum(i, tile_cos.shape[0] - 1)
    cos_SC, sin_SC = cos[...], sin[...]
    first_cos_1C, first_sin_1C = tile_cos[pl.ds(i, 1), :], tile_sin[pl.ds(i, 1), :]
    return cos_SC * first_cos_1C - sin_SC * first_sin_1C, sin_SC * first_cos_1C + cos_SC * first_sin_1C


def _rotated(x_RC, cos_RC, sin_RC, back: bool = False):
    """Each pair of lanes turned by its angle, or back, in the dtype of `x`."""
    wide_RC = x_RC.astype(jnp.float32)
    is_even_RC = jax.lax.broadcasted_iota(jnp.int32, x_RC.shape, 1) & 1 == 0
    other_RC = jnp.where(is_even_RC, pltpu.roll(wide_RC, LANES - 1, 1), pltpu.roll(wide_RC, 1, 1))
    return (wide_RC * cos_RC + other_RC * (-sin_RC if back else sin_RC)).astype(x_RC.dtype)


def _turned(x_RC):
    """The transposed tile; on the chip, 32-bit values are transposed."""
    return x_RC.astype(jnp.float32).T.astype(x_RC.dtype)


def _by_head(plan, x_SC):
    """For each head of the block, the tile with zeros in all lanes of other heads."""
    head_SC = jax.lax.div(jax.lax.broadcasted_iota(jnp.int32, x_SC.shape, 1), plan.width)
    return [jnp.where(head_SC == g, x_SC, 0) if plan.heads > 1 else x_SC for g in range(plan.heads)]


def _head_rows(plan, x_CR, g):
    return x_CR[g * plan.width : (g + 1) * plan.width]


def _head_sums(plan, x_SC):
    """Sums over the lanes of each head, as rows in float32; rows beyond the heads are zeros."""
    shape = (8, LANES)
    lane, row = (jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (1, 0))
    of_head = (jax.lax.div(lane, plan.width) == row).astype(jnp.float32)
    return _product(of_head, x_SC, turned=True, precision=jax.lax.Precision.HIGHEST)


def _scores(plan, k_RC, q_SC):
    return _product(k_RC, q_SC, turned=True) * plan.scale


def _visible(plan, i, j, low_1S):
    """Which keys of tile j the queries of tile i see."""
    shape = (plan.tile, plan.tile)
    key_RS = j * plan.tile + jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    query_RS = i * plan.tile + jax.lax.broadcasted_iota(jnp.int32, shape, 1)
    return (key_RS >= low_1S) & (key_RS <= query_RS)


def _product(a, b, turned: bool = False, precision=None):
    """a · b, or a · bᵀ, in float32."""
    axes = (((1,), (1 if turned else 0,)), ((), ()))
    return jax.lax.dot_general(a, b, axes, precision=precision, preferred_element_type=jnp.float32)
