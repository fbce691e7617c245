"""Documents of text and speech with all that a training row says of them, and tokens forced through cached steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from model_cases import VOCAB, random_params, small_config, windows  # noqa: F401

from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.generate import loop
from lst_jax.model.cached_model import CachedModel


def document(rng, kinds, most=9):
    """Tokens of BOS, runs of these kinds ("t" or "s") behind their markers, EOS."""
    token = [BOS_ID]
    for kind in kinds:
        length = int(rng.integers(1, most))
        if kind == "t":
            token += [VOCAB.text_marker, *rng.integers(3, VOCAB.text_size, length)]
        else:
            token += [VOCAB.speech_marker, *(VOCAB.unit_offset + rng.integers(0, VOCAB.unit_slots, length))]
    return np.array([*token, EOS_ID], np.int32)


def boundaries(token, size, takes_marker=False):
    """Token by token: where patches start and where they are known to end, with static patches of `size` units."""
    start, end, place = [], [], 0
    for t in token:
        unit = t >= VOCAB.unit_offset
        if takes_marker and t == VOCAB.speech_marker:
            unit, place = True, 0
        start.append(not unit or place % size == 0)
        end.append(not unit or place % size == size - 1)
        place = place + 1 if unit else 0
    return np.array(start), np.array(end)


def rows_of(documents, size, length, takes_marker=False):
    """Arguments of the model: one document a row, padded behind."""
    rows = [np.zeros((len(documents), length), kind) for kind in (np.int32, np.int32, bool, bool)]
    for i, token in enumerate(documents):
        for row, values in zip(rows, (token, np.ones(len(token)), *boundaries(token, size, takes_marker)), strict=True):
            row[i, : len(token)] = values
    return rows


@functools.partial(jax.jit, static_argnums=(0, 1))
def forced_logits(decoder: CachedModel, slots, params, prompt, forced_BT, length_B):
    """([B, T, V] logits at each position from the prompt's last one to the last but one, global steps)."""
    b, t = forced_BT.shape
    prompt_B = (prompt[1] != 0).sum(1)
    rows_B = jnp.arange(b)
    local, main = decoder.prefill(params, *prompt, prompt[0].shape[1], slots)
    rows = loop.start(*prompt, decoder.patch_units, t)
    limits = loop.Limits(length_B - prompt_B, jnp.full(b, jnp.inf), jnp.zeros(VOCAB.size))

    def choose(logits_BTV, logits_BV, rows, on_B):
        position_B = jnp.where(on_B, prompt_B - 1 + rows.number_B, t)
        token_B = forced_BT[rows_B, jnp.minimum(position_B + 1, t - 1)]
        return token_B, logits_BTV.at[rows_B, position_B].set(logits_BV, mode="drop")

    empty_BTV = jnp.full((b, t, VOCAB.size), jnp.nan)
    _, logits_BTV, steps = loop.run(decoder, VOCAB, params, local, main, rows, limits, choose, empty_BTV)
    return logits_BTV, steps
