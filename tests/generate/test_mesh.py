"""Generation on a mesh: the logits and the tokens of one device, from parts of parameters and caches."""

import json

import jax
import numpy as np
import pytest
import saved_run
import synthetic_data
from generate_cases import VOCAB, document, forced_logits, random_params, rows_of, small_config, windows
from jax.sharding import PartitionSpec

from lst_jax.checkpoints import trained_model
from lst_jax.cli import main
from lst_jax.config import MeshConfig, StackConfig
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.evals import probe
from lst_jax.generate import loop
from lst_jax.generate.generator import Settings, continue_rows
from lst_jax.generate.sampling import Numbers, allowed_ids
from lst_jax.model.architectures.registry import build
from lst_jax.model.cached_model import cached_model
from lst_jax.parallel import sharding
from lst_jax.parallel.sharding import TENSOR

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
# in `make test`: Base over replicas, the bypass over tensor parts, and further down the commands over a run of "lst"
IN_LOGITS = ("2 replica, 2 data, 2 tensor",)
IN_TOKENS = ("2 data, 4 tensor",)
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


def cases(quick):
    """Every case; those that are not named are slow."""
    return [pytest.param(case, marks=[pytest.mark.slow] * (case not in quick)) for case in CASES]


def prompts():
    rng = np.random.default_rng(3)
    return [d[: int(rng.integers(1, len(d) - 1))] for d in DOCUMENTS]


@pytest.mark.parametrize("case", cases(IN_LOGITS))
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
@pytest.mark.parametrize("case", cases(IN_TOKENS))
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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved_run.make(tmp_path_factory.mktemp("mesh"))


def test_a_run_s_parameters_are_read_in_parts_and_its_commands_say_the_same_on_every_mesh(run, capsys):
    found = trained_model.load_trained_model(run, ["mesh.data=4", "mesh.tensor=2"])
    assert dict(found.mesh.shape) == {"replica": 1, "data": 4, "tensor": 2}
    for leaf in jax.tree.leaves(found.params):
        held = {shard.data.size for shard in leaf.addressable_shards}
        assert held == {leaf.size if leaf.ndim < 2 else leaf.size // (8 if TENSOR in leaf.sharding.spec else 4)}
    said = []
    for mesh in (["--set", "mesh.data=1"], ["--set", "mesh.data=2", "--set", "mesh.tensor=2"]):
        prompt = ["--text", "the river", "--count", "3", "--max-tokens", "8", "--top-k", "20", "--json"]
        assert main.main(["generate", str(run.path), *prompt, *mesh]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        said.append([(row["seed"], row["stopped"], row["runs"]) for row in rows])
    assert said[0] == said[1] and len(said[0]) == 3


def test_probes_read_the_same_states_on_every_mesh(run):
    states = []
    for changes in (["mesh.data=1"], ["mesh.data=2", "mesh.tensor=2"]):
        opened = trained_model.load_trained_model(run, changes)
        builder = ExampleBuilder.of(opened.config, open_tokenizer(opened.config))
        examples = [builder.text_only(synthetic_data.utterance(i, 4 + i)) for i in range(3)]
        states.append(list(probe._states(opened, examples)))
    for (ours_NUD, our_unit_T), (theirs_NUD, their_unit_T) in zip(*states, strict=True):
        np.testing.assert_array_equal(our_unit_T, their_unit_T)
        np.testing.assert_allclose(ours_NUD, theirs_NUD, rtol=1e-4, atol=1e-5)


def test_only_the_mesh_of_a_run_may_change(run, capsys):
    for argv, line in (
        (
            ["generate", run.path, "--set", "data.rows=4"],
            "--set data.rows=4: of a trained run only the mesh may change",
        ),
        (["evaluate", run.path, "--set", "mesh.data=16"], "mesh.data=16: replica 1 × data 16 × tensor 1 must be the 8"),
        (["evaluate", run.path, "--asr", "speech", "--set", "mesh.tensor=3"], "mesh.tensor=3: must divide"),
    ):
        assert main.main([*map(str, argv)]) == 2
        err = capsys.readouterr().err
        assert line in err and len(err.splitlines()) == 1
