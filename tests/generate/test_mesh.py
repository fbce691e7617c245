"""Generation on a mesh: the logits and the tokens of one device, from parts of parameters and caches."""

import jax
import numpy as np
import pytest
from generate_cases import VOCAB, document, forced_logits, random_params, rows_of, small_config, windows
from jax.sharding import PartitionSpec

from lst_jax.config import MeshConfig, StackConfig
from lst_jax.generate import loop
from lst_jax.generate.generator import Settings, continue_rows
from lst_jax.generate.sampling import Numbers, allowed_ids
from lst_jax.model.architectures.registry import build
from lst_jax.model.cached_model import cached_model
from lst_jax.parallel import sharding

SIZE, LENGTH, ROOM = 3, 24, 24
WIDE = {
    "patch_encoder": StackConfig(1, 16, 4, 4),
    "patch_decoder": StackConfig(1, 16, 4, 4),
    "global_transformer": StackConfig(1, 32, 4, None),
    "cross_heads": 4,
}
# one case a mesh, so that every system, replica, data and tensor parts are split in some
CASES = {
    "8 data": (small_config(**WIDE), (1, 8, 1)),
    "2 data, 4 tensor": (small_config("lst_bypass", **WIDE | windows(2)), (1, 2, 4)),
    "4 tensor": (small_config(**WIDE | windows(3), encoder_cross_all_layers=True), (1, 1, 4)),
    "2 replica, 2 data, 2 tensor": (
        small_config("base", global_transformer=StackConfig(2, 32, 4, None)),
        (2, 2, 2),
    ),
}
DOCUMENTS = [
    document(np.random.default_rng(i), kinds)
    for i, kinds in enumerate(["s", "t", "sts", "ts", "st", "tsts", "ss", "tt"])
]
IS_UNIT = (np.arange(VOCAB.size) >= VOCAB.unit_offset).astype(np.float32)


def placed(case, on_mesh):
    """(the cached model, its mesh, its parameters): on the case's mesh, or on one device."""
    config, sizes = CASES[case]
    mesh = (
        sharding.make_mesh(MeshConfig(*sizes), jax.devices()[: int(np.prod(sizes))])
        if on_mesh
        else sharding.one_device()
    )
    model = build(config, VOCAB, LENGTH, placement=sharding.placement_for_steps(mesh))
    params = random_params(model)
    return cached_model(model, SIZE), mesh, jax.device_put(params, sharding.parameter_shardings(mesh, params))


def prompts():
    rng = np.random.default_rng(3)
    return [d[: int(rng.integers(1, len(d) - 1))] for d in DOCUMENTS]


@pytest.mark.parametrize("case", CASES)
def test_every_logit_is_that_of_one_device(case):
    found = []
    for on_mesh in (True, False):
        decoder, mesh, params = placed(case, on_mesh)
        split = sharding.batch_sharding(mesh).spec

        def on_device(params, prompt, forced_BT, length_B, decoder=decoder):
            return forced_logits(decoder, 2 * LENGTH, decoder.model.whole_output(params), prompt, forced_BT, length_B)

        specs = sharding.parameter_specs(params), split, split, split
        logits = jax.jit(sharding.each_device(on_device, mesh, specs, (split, PartitionSpec())))
        rows = rows_of(DOCUMENTS, SIZE, LENGTH)[0]
        lengths = np.array([len(d) for d in DOCUMENTS])
        found.append(jax.device_get(logits(params, tuple(rows_of(prompts(), SIZE, LENGTH)), rows, lengths)))
    (ours_BTV, our_steps), (theirs_BTV, their_steps) = found
    assert np.isfinite(theirs_BTV).any() and our_steps == their_steps
    np.testing.assert_allclose(ours_BTV, theirs_BTV, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_those_of_one_device(case, temperature):
    found = []
    for on_mesh in (True, False):
        decoder, mesh, params = placed(case, on_mesh)
        count = len(DOCUMENTS)
        limits = loop.Limits(np.full(count, ROOM, np.int32), np.full(count, np.inf, np.float32), IS_UNIT)
        rows, nats_B, _ = continue_rows(
            decoder,
            mesh,
            VOCAB,
            Settings(LENGTH, LENGTH + ROOM, ROOM, True),
            params,
            tuple(rows_of(prompts(), SIZE, LENGTH)),
            limits,
            np.arange(count, dtype=np.uint32),
            allowed_ids(VOCAB, "free", 45),
            Numbers(np.float32(temperature), np.int32(0), np.float32(0.99)),
        )
        found.append((np.asarray(rows.tokens_BN), np.asarray(rows.number_B), np.asarray(nats_B)))
    (tokens, number, nats), (their_tokens, their_number, their_nats) = found
    np.testing.assert_array_equal(number, their_number)
    np.testing.assert_array_equal(tokens, their_tokens)
    np.testing.assert_allclose(nats, their_nats, rtol=1e-4)
    assert number.max() > 4 and len({tuple(row) for row in tokens}) == len(DOCUMENTS)
