"""The loop of generation: which rows take a local step and which take a global step, and when.

Each token is a local step of its row. A row whose patch has ended waits for a global step. When all rows wait, they
take one global step together. Rows of speech therefore cost one global step per `patch_units` tokens, whatever the
offsets between their patches. A text token in another row waits at most as long as one patch takes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Bool, Int, ndarray
from lst_jax.core.vocab import Vocab
from lst_jax.model.cached_model import CachedModel
from lst_jax.model.global_cache import GlobalState
from lst_jax.model.local_cache import LocalState

# (carry, logits_BV, rows, on_B) -> (token_B, carry): chooses the next token of rows that are on
Choose = Callable[[Any, Array, "Rows", Array], tuple[Array, Any]]


class Rows(NamedTuple):
    """The state of each row."""

    token_B: Array  # the newest token
    place_B: Array  # units so far of the patch that is open; 0 = the next unit opens one
    encoded_B: Array  # whether the local networks have read the newest token
    waiting_B: Array  # whether the row waits for a global step
    alive_B: Array  # whether the row goes on
    tokens_BN: Array  # the generated tokens
    number_B: Array  # how many tokens were generated
    frames_B: Array  # how many frames of speech they stand for


class Limits(NamedTuple):
    """Where a row stops if EOS does not stop it: at so many tokens or so many frames, whichever comes first."""

    tokens_B: Array
    frames_B: Array
    frames_V: Array  # frames that each token id stands for


def start(
    token_BT: Int[Array | ndarray, "B T"],
    doc_id_BT: Int[Array | ndarray, "B T"],
    patch_start_BT: Bool[Array | ndarray, "B T"],
    patch_end_BT: Bool[Array | ndarray, "B T"],
    patch_units: int,
    room: int,
) -> Rows:
    """The state after the prompts (one document per row, from position 0), with room for `room` new tokens."""
    b, t = token_BT.shape
    last_B = (doc_id_BT != 0).sum(1) - 1
    rows_B, place_T = jnp.arange(b), jnp.arange(t)
    opens_B = jnp.where(patch_start_BT & (doc_id_BT != 0), place_T, 0).max(1)
    ended_B = patch_end_BT[rows_B, last_B] | (patch_units == 1)
    none_B = jnp.zeros(b, jnp.int32)
    return Rows(
        jnp.asarray(token_BT)[rows_B, last_B],
        jnp.where(ended_B, 0, last_B - opens_B + 1).astype(jnp.int32),
        jnp.ones(b, bool),
        jnp.zeros(b, bool),
        last_B >= 0,
        jnp.zeros((b, room), jnp.int32),
        none_B,
        jnp.zeros(b),
    )


def run(
    decoder: CachedModel,
    vocab: Vocab,
    params: Any,
    local: LocalState,
    main: GlobalState,
    rows: Rows,
    limits: Limits,
    choose: Choose,
    carry: Any,
) -> tuple[Rows, Any, Int[Array, ""]]:
    """Generates until no row is alive. Returns the rows, the last `carry` from `choose`, and the number of global steps."""

    any_row = decoder.model.placement.any_row  # every device takes part in every step

    def patch(state):
        local, main, rows, carry, steps = state
        local, rows, carry = jax.lax.while_loop(
            lambda s: any_row(s[1].alive_B & ~s[1].waiting_B),
            functools.partial(_local_work, decoder, vocab, params, main, limits, choose),
            (local, rows, carry),
        )
        on_B = rows.alive_B & rows.waiting_B
        main = decoder.advance(params, local, main, on_B)
        return local, main, rows._replace(waiting_B=jnp.zeros_like(on_B)), carry, steps + any_row(on_B)

    state = local, main, rows, carry, jnp.zeros((), jnp.int32)
    _, _, rows, carry, steps = jax.lax.while_loop(lambda s: any_row(s[2].alive_B), patch, state)
    return rows, carry, steps


def _local_work(decoder: CachedModel, vocab: Vocab, params, main: GlobalState, limits: Limits, choose: Choose, state):
    """Chooses the next token of every row that does not wait, and encodes it unless the patch before it is still open."""
    local, rows, carry = state
    on_B = rows.alive_B & ~rows.waiting_B
    reads_B = on_B & rows.encoded_B
    logits_BV, local = decoder.read(params, local, main, reads_B)
    token_B, carry = choose(carry, logits_BV, rows, reads_B)
    rows = _write(vocab, rows, token_B, reads_B, limits)
    starts_B, ends_B = patch_edges(vocab, decoder.patch_units, rows, decoder.takes_marker)
    # the end of a short last patch shows only now: the patch is advanced before this token is encoded
    closes_B = on_B & rows.alive_B & (rows.place_B > 0) & starts_B
    encodes_B = on_B & rows.alive_B & ~closes_B
    local = decoder.encode(params, local, rows.token_B, starts_B, encodes_B)
    place_B = jnp.where(encodes_B, jnp.where(ends_B, 0, rows.place_B + 1), rows.place_B)
    return (
        local,
        rows._replace(
            place_B=jnp.where(closes_B, 0, place_B),
            encoded_B=jnp.where(on_B, encodes_B, rows.encoded_B),
            waiting_B=rows.waiting_B | closes_B | (encodes_B & ends_B),
        ),
        carry,
    )


def patch_edges(
    vocab: Vocab, patch_units: int, rows: Rows, takes_marker: bool = False
) -> tuple[Bool[Array, "B"], Bool[Array, "B"]]:
    """Whether the newest token of each row starts its patch, and whether it is known to end it, as in static patches.

    Text tokens and markers do both. The first unit of a patch starts it, and the unit number `patch_units` ends it. With
    `takes_marker` the marker of speech starts its patch as the first unit would.
    """
    unit_B = vocab.is_speech(rows.token_B)
    inside_B = unit_B | ((rows.token_B == vocab.speech_marker) & takes_marker)
    # A marker that closes the patch before it is asked again, at place 0
    return ~unit_B | (rows.place_B == 0), ~inside_B | (rows.place_B == patch_units - 1)


def _write(vocab: Vocab, rows: Rows, token_B, on_B, limits: Limits) -> Rows:
    """Appends the tokens, and stops rows at EOS or at a limit."""
    column_B = jnp.where(on_B, rows.number_B, rows.tokens_BN.shape[1])
    tokens_BN = rows.tokens_BN.at[jnp.arange(len(token_B)), column_B].set(token_B, mode="drop")
    number_B = rows.number_B + on_B
    frames_B = rows.frames_B + jnp.where(on_B, limits.frames_V[token_B], 0)
    ends_B = (token_B == vocab.eos_id) | (number_B >= limits.tokens_B) | (frames_B >= limits.frames_B)
    return rows._replace(
        token_B=jnp.where(on_B, token_B, rows.token_B),
        tokens_BN=tokens_BN,
        number_B=number_B,
        frames_B=frames_B,
        alive_B=rows.alive_B & ~(on_B & ends_B),
    )
