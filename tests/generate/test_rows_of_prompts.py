"""Rows of a batch: which tokens they may have, what decides them, and where they stop."""

import functools
import re

import jax
import numpy as np
import pytest
from generate_cases import VOCAB, document, random_params, rows_of, small_config

from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.generate import loop
from lst_jax.generate.generator import Settings, continue_rows
from lst_jax.generate.sampling import OUTPUTS, Numbers, allowed_ids
from lst_jax.model.architectures.registry import build
from lst_jax.model.cached_model import cached_model
from lst_jax.parallel.sharding import one_device

SIZE, LENGTH, ROOM, UNITS_IN_USE = 3, 32, 64, 45
PROMPTS = [
    np.array([BOS_ID], np.int32),
    *(document(np.random.default_rng(i), kinds)[:-1] for i, kinds in enumerate(["s", "t", "st", "ts"])),
]
IS_UNIT = (np.arange(VOCAB.size) >= VOCAB.unit_offset).astype(np.float32)


@functools.cache
def built():
    model = build(small_config(), VOCAB, LENGTH)
    return cached_model(model, SIZE), jax.device_put(random_params(model))


def go_on(
    prompts=tuple(PROMPTS),
    output="free",
    seeds=(0, 1, 2, 3, 4),
    temperature=1.0,
    tokens=ROOM,
    frames=np.inf,
    units=UNITS_IN_USE,
):
    """Tokens that follow each prompt, and the global steps that they took."""
    decoder, params = built()
    count = len(prompts)
    limits = loop.Limits(np.full(count, tokens, np.int32), np.full(count, frames, np.float32), IS_UNIT)
    rows, nats, steps = continue_rows(
        decoder,
        one_device(),
        VOCAB,
        Settings(LENGTH, LENGTH + ROOM, ROOM, True),
        params,
        tuple(rows_of(prompts, SIZE, LENGTH)),
        limits,
        np.array(seeds, np.uint32),
        allowed_ids(VOCAB, output, units),
        Numbers(np.float32(temperature), np.int32(0), np.float32(0.99)),
    )
    assert (np.asarray(nats) < 0).all()
    return [row[:n] for row, n in zip(np.asarray(rows.tokens_BN), np.asarray(rows.number_B), strict=True)], int(steps)


def letters(token):
    """T and u for text and units, t and s for markers, B and E; ? for ids that nobody should see."""

    def letter(t):
        if t in (BOS_ID, EOS_ID, VOCAB.text_marker, VOCAB.speech_marker):
            return {BOS_ID: "B", EOS_ID: "E", VOCAB.text_marker: "t", VOCAB.speech_marker: "s"}[t]
        return "T" if 3 <= t < VOCAB.text_size else "u" if 0 <= t - VOCAB.unit_offset < UNITS_IN_USE else "?"

    return "".join(map(letter, token))


def test_rows_alternate_as_documents_do_and_hold_only_what_was_asked_for():
    new = {"text": "t?T*E?", "speech": "s?u*E?", "free": "[tTsu]*E?"}
    for output in OUTPUTS:
        found, _ = go_on(output=output)
        for prompt, token in zip(PROMPTS, found, strict=True):
            # a run has at least one token unless the row ends with its marker
            assert re.fullmatch(r"B(tT+|su+)*[ts]?E?", letters([*prompt, *token])), letters([*prompt, *token])
            assert re.fullmatch(new[output], letters(token)) and len(token)
            assert not re.search("[ts]E", letters(token))
    assert {"t", "s"} <= set("".join(map(letters, found)))  # free rows did switch


def test_a_row_is_the_same_alone_and_in_any_batch():
    together, _ = go_on()
    back, _ = go_on(prompts=tuple(PROMPTS[::-1]), seeds=(4, 3, 2, 1, 0))
    for i, token in enumerate(together):
        np.testing.assert_array_equal(back[::-1][i], token)
        alone, _ = go_on(prompts=(PROMPTS[i],), seeds=(i,))
        np.testing.assert_array_equal(alone[0], token)
    assert len({tuple(token) for token in together}) == len(together)


def test_seeds_decide_unless_the_likeliest_token_is_taken():
    same = (PROMPTS[2],) * 5
    found, _ = go_on(prompts=same, seeds=(0, 1, 2, 0, 1))
    np.testing.assert_array_equal(found[0], found[3])
    np.testing.assert_array_equal(found[1], found[4])
    assert len({tuple(token) for token in found}) == 3
    greedy, _ = go_on(prompts=same, temperature=0.0)
    assert len({tuple(token) for token in greedy}) == 1


def test_rows_stop_at_the_end_at_a_number_of_tokens_or_of_frames():
    for token in go_on(output="text")[0]:
        assert EOS_ID not in token[:-1] and (token[-1] == EOS_ID or len(token) == ROOM)
    assert any(token[-1] == EOS_ID for token in go_on(output="text", seeds=range(10, 15))[0])
    assert all(len(token) == 7 or token[-1] == EOS_ID for token in go_on(tokens=7)[0])
    for token in go_on(output="speech", frames=5)[0]:
        units = int((token >= VOCAB.unit_offset).sum())
        assert token[-1] == EOS_ID and units < 5 or token[-1] != EOS_ID and units == 5


@pytest.mark.parametrize("others", [1, 3])
def test_rows_whose_patches_lie_differently_still_share_their_global_steps(others):
    """Prompts that end one, two and three units into a patch: a global step for `SIZE` tokens, not for each token."""
    speech = [
        np.array([BOS_ID, VOCAB.speech_marker, *range(VOCAB.unit_offset, VOCAB.unit_offset + n)], np.int32)
        for n in (3, 4, 5)
    ][:others]
    prompts = tuple((speech * 5)[:5])
    found, steps = go_on(prompts=prompts, output="speech", temperature=0.0, units=1)  # one unit and EOS
    longest = max(map(len, found))
    assert steps <= longest / SIZE + 2
