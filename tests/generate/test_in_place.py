"""A step of generation writes one position into each cache, and copies none: read from the compiled program."""

import re

import jax
import numpy as np
import pytest
from generate_cases import VOCAB, small_config

from lst_jax.core.vocab import BOS_ID
from lst_jax.generate import loop
from lst_jax.generate.generator import Settings, continue_rows
from lst_jax.generate.sampling import Numbers, allowed_ids
from lst_jax.model.architectures.registry import build
from lst_jax.model.cached_model import cached_model
from lst_jax.parallel.sharding import one_device

PROMPT, SLOTS, ROOM = 2, 37, 33  # no other array has so many positions


def compiled_text(system, count):
    """The program that continues `count` rows, and the shapes of its caches."""
    model = build(small_config(system), VOCAB, PROMPT)
    params = jax.eval_shape(model.init_params, jax.random.key(0))
    decoder, ones_BT = cached_model(model, 3), np.ones((count, PROMPT), np.int32)
    prompt = (ones_BT * np.int32([BOS_ID, VOCAB.speech_marker]), ones_BT, ones_BT > 0, ones_BT > 0)
    limits = loop.Limits(
        np.full(count, ROOM, np.int32), np.full(count, np.inf, np.float32), np.zeros(VOCAB.size, np.float32)
    )
    program = continue_rows.lower(
        decoder,
        one_device(),
        VOCAB,
        Settings(PROMPT, SLOTS, ROOM, False),
        params,
        prompt,
        limits,
        np.zeros(count, np.uint32),
        allowed_ids(VOCAB, "speech", 45),
        Numbers(np.float32(1), np.int32(0), np.float32(1)),
    )
    _, main = jax.eval_shape(lambda p, *rows: decoder.prefill(p, *rows, PROMPT, SLOTS), params, *prompt)
    return program.compile().as_text(), {cache.k_NRK.shape for cache in main.layer_caches}


@pytest.mark.parametrize(
    "system, count",
    [("lst", 3), ("base", 1), *(pytest.param(*one, marks=pytest.mark.slow) for one in [("lst", 1), ("base", 3)])],
)
def test_no_step_copies_a_cache(system, count):
    text, shapes = compiled_text(system, count)
    (shape,) = shapes
    array = re.escape(f"f32[{','.join(map(str, shape))}]")
    loops, _, entry = text.partition("\nENTRY ")
    assert re.search(rf"= {array}\S* (fusion|dynamic-update-slice)\(", loops) and entry  # the write itself
    assert not re.findall(rf"= {array}\S* copy\(", loops)
