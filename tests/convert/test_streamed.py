"""A model that is read layer by layer computes what it computes as a whole, and is never in memory as one."""

import weakref

import jax
import jax.numpy as jnp
import llama_cases
import numpy as np
import pytest
from convert_cases import config_of, draw, make_run
from flax import traverse_util

from lst_jax.checkpoints import stream
from lst_jax.convert import orbax, streamed
from lst_jax.convert.inputs import inputs_for
from lst_jax.convert.source import Source, Stored
from lst_jax.model.architectures.registry import build
from lst_jax.runs.directory import RunDirectory


def source_of(config, params):
    flat = traverse_util.flatten_dict(params, sep="/")
    return Source(config, {path: Stored(one.shape, lambda one=one: np.asarray(one)) for path, one in flat.items()}, {})


SCANNED = {"scan_layers": True, "encoder_cross_window": 2}


@pytest.mark.parametrize(
    "system, changes",
    [
        pytest.param("lst", SCANNED, id="lst-scanned"),
        pytest.param("lst_bypass", {}, id="lst_bypass-plain"),
        pytest.param("base", {}, id="base-plain"),
        pytest.param("lst", {}, id="lst-plain", marks=pytest.mark.slow),
        pytest.param("lst_bypass", SCANNED, id="lst_bypass-scanned", marks=pytest.mark.slow),
        pytest.param("base", SCANNED, id="base-scanned", marks=pytest.mark.slow),
    ],
)
def test_logits_are_those_of_the_whole_model(system, changes):
    config = config_of(system, compute_dtype="bfloat16" if changes else "float32", **changes)
    params, inputs = draw(config, 0), inputs_for(config, 37)
    ours = streamed.logits(source_of(config, params), inputs)
    whole = build(config_of(system, **changes).model, config.joint_vocab, inputs.patch_start_BT.sum(1).max().item())
    with jax.default_matmul_precision("highest"):
        theirs = jax.jit(whole)(
            params,
            jnp.asarray(inputs.token_BT),
            np.ones_like(inputs.token_BT),
            inputs.patch_start_BT,
            inputs.patch_end_BT,
        )
    assert ours.dtype == np.float32 and np.abs(ours).max() > 1
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_layers_without_rotation_are_told_from_the_others():
    config = llama_cases.family_config("SmolLM3ForCausalLM")
    source, inputs = llama_cases.source_of(config), llama_cases.inputs_for(config, length=40)
    ours, theirs = streamed.logits(source, inputs), llama_cases.our_logits(source, inputs)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def counting(shapes):
    """Reads arrays of ones, and tells how many of them were alive at one time, at most."""
    alive, most = weakref.WeakSet(), [0]

    class Counted(np.ndarray):
        pass

    def read(path):
        array = np.ones(shapes[path], np.float32).view(Counted)
        alive.add(array)
        most[0] = max(most[0], len(alive))
        return array

    Counted.__hash__ = object.__hash__
    return read, most


SHAPES = {f"layers_{i}/kernel": (64, 32) for i in range(12)}


def test_a_checkpoint_is_written_one_array_at_a_time(tmp_path):
    read, most = counting(SHAPES)
    checkpoints = RunDirectory(tmp_path).checkpoints_path
    stream.write_params(checkpoints, 7, SHAPES, read, {"identity": {}})
    assert most[0] <= 2
    folder = stream.StepFolder(checkpoints, 7)
    assert folder.shapes("params") == SHAPES and folder.items == ["params"]
    assert all((folder.read("params", path) == 1).all() for path in SHAPES)


def test_logits_hold_one_global_layer_at_a_time(tmp_path):
    config = config_of("lst")
    source = orbax.open_source(make_run(tmp_path / "run", config))
    read = []
    streamed.logits(source.observed_by(lambda path, array: read.append(path)), inputs_for(config, 37))
    assert sorted(read) == sorted(source.arrays)  # each once
    layer = [path.split("/")[1] for path in read if path.startswith("global_transformer/layers_")]
    assert layer == sorted(layer)
