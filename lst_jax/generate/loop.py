"""Which row does what when: tokens are local work, and the rows meet for one global step when all of them need it.

A row works alone until its patch has ended; the rows whose patch has ended wait until no row can go on, and then take
one global step together. Rows of speech therefore cost one global step for `patch_units` tokens, however their patches
lie to each other, and a text token beside them waits no longer than a patch.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Bool, Int, ndarray
from lst_jax.core.vocab import EOS_ID, Vocab
from lst_jax.model.decode import Decoder, Local, Main

# (carry, logits_BV, rows, on_B) -> (token_B, carry): what comes next in the rows that are on
Choose = Callable[[Any, Array, "Rows", Array], tuple[Array, Any]]


class Rows(NamedTuple):
    """Where each row is."""

    token_B: Array  # the newest token
    place_B: Array  # units so far of a patch that has not ended; 0 = the next unit opens one
    encoded_B: Array  # the local networks know the newest token
    waiting_B: Array  # for a global step
    alive_B: Array
    tokens_BN: Array  # what was generated
    number_B: Array  # how much of it
    frames_B: Array  # of speech in it


class Limits(NamedTuple):
    """Where a row stops besides at EOS; not before both tokens and frames are below."""

    tokens_B: Array
    frames_B: Array
    frames_V: Array  # frames that each token stands for


def start(
    token_BT: Int[Array | ndarray, "B T"],
    doc_id_BT: Int[Array | ndarray, "B T"],
    patch_start_BT: Bool[Array | ndarray, "B T"],
    patch_end_BT: Bool[Array | ndarray, "B T"],
    patch_units: int,
    room: int,
) -> Rows:
    """Rows behind their prompts (one document each, from position 0), with room for so many tokens."""
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
    decoder: Decoder,
    vocab: Vocab,
    params: Any,
    local: Local,
    main: Main,
    rows: Rows,
    limits: Limits,
    choose: Choose,
    carry: Any,
) -> tuple[Rows, Any, Int[Array, ""]]:
    """Goes on until no row is alive. Returns the rows, what `choose` has made of `carry`, and the global steps."""

    def patch(state):
        local, main, rows, carry, steps = state
        local, rows, carry = jax.lax.while_loop(
            lambda s: jnp.any(s[1].alive_B & ~s[1].waiting_B),
            functools.partial(_local_work, decoder, vocab, params, main, limits, choose),
            (local, rows, carry),
        )
        on_B = rows.alive_B & rows.waiting_B
        main = decoder.advance(params, local, main, on_B)
        return local, main, rows._replace(waiting_B=jnp.zeros_like(on_B)), carry, steps + on_B.any()

    state = local, main, rows, carry, jnp.zeros((), jnp.int32)
    _, _, rows, carry, steps = jax.lax.while_loop(lambda s: jnp.any(s[2].alive_B), patch, state)
    return rows, carry, steps


def _local_work(decoder: Decoder, vocab: Vocab, params, main: Main, limits: Limits, choose: Choose, state):
    """A token more in every row that does not wait: chosen, and encoded where the patch before it has ended."""
    local, rows, carry = state
    on_B = rows.alive_B & ~rows.waiting_B
    reads_B = on_B & rows.encoded_B
    logits_BV, local = decoder.read(params, local, main, reads_B)
    token_B, carry = choose(carry, logits_BV, rows, reads_B)
    rows = _write(rows, token_B, reads_B, limits)
    starts_B, ends_B = patch_edges(vocab, decoder.patch_units, rows)
    # a patch that ends without having said so ends here, before the token that opens the next one is read
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


def patch_edges(vocab: Vocab, patch_units: int, rows: Rows) -> tuple[Bool[Array, "B"], Bool[Array, "B"]]:
    """Whether each row's newest token starts its patch and ends it, as `data.patching.StaticRule` has it.

    Text tokens and markers do both. Units do in turns; that a short last patch ends is not known from within it.
    """
    unit_B = vocab.is_speech(rows.token_B)
    return ~unit_B | (rows.place_B == 0), ~unit_B | (rows.place_B == patch_units - 1)


def _write(rows: Rows, token_B, on_B, limits: Limits) -> Rows:
    """Appends the tokens, and stops the rows that have come to an end."""
    column_B = jnp.where(on_B, rows.number_B, rows.tokens_BN.shape[1])
    tokens_BN = rows.tokens_BN.at[jnp.arange(len(token_B)), column_B].set(token_B, mode="drop")
    number_B = rows.number_B + on_B
    frames_B = rows.frames_B + jnp.where(on_B, limits.frames_V[token_B], 0)
    ends_B = (token_B == EOS_ID) | (number_B >= limits.tokens_B) | (frames_B >= limits.frames_B)
    return rows._replace(
        token_B=jnp.where(on_B, token_B, rows.token_B),
        tokens_BN=tokens_BN,
        number_B=number_B,
        frames_B=frames_B,
        alive_B=rows.alive_B & ~(on_B & ends_B),
    )
