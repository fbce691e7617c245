"""One step on every mesh: the same loss, gradients and state, from parameters that lie where the table says."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import synthetic_data
from jax.sharding import PartitionSpec

from lst_jax import config as cfg
from lst_jax.core.errors import ConfigError
from lst_jax.data.rows import Batch
from lst_jax.parallel import sharding
from lst_jax.recipes.validate import validate
from lst_jax.step import update

ROWS, TOKENS = 8, 24
# one case a mesh, so that every system, replica, data and tensor parts are split in some
CASES = {
    "8 data": ("lst", (1, 8, 1)),
    "4 data, 2 tensor": ("lst_bypass", (1, 4, 2)),
    "2 data, 4 tensor": ("lst", (1, 2, 4)),
    "2 replica, 2 data, 2 tensor": ("base", (2, 2, 2)),
}
SLOW = (
    "8 data",
    "4 data, 2 tensor",
)  # the others split the same arrays over the same axes; test_mesh.py splits the bypass


def make_config(system="lst", mesh=(1, 1, 1), **changes):
    """Two layers a stack, widths and heads that eight devices divide; `changes` are of parts, as mappings."""
    config = synthetic_data.make_config(tokens=TOKENS, units=TOKENS, rows=ROWS, text_size=60, unit_slots=20)
    local = None if system == "base" else cfg.StackConfig(2, 16, 4, 8)
    parts = {
        "model": dict(
            architecture=system,
            patch_encoder=local,
            patch_decoder=local,
            queries_per_patch=2,
            cross_heads=4,
            global_transformer=cfg.StackConfig(2, 32, 4, None),
            encoder_cross_all_layers=True,
            ffn_multiple=8,
            attention_block=32,
            logits_chunk=16,
            scan_layers=True,
            remat="attention",
        ),
        "data": dict(
            row_speech_tokens=TOKENS if system == "lst_bypass" else None,
            patching=dataclasses.replace(
                config.data.patching, strategy="none" if system == "base" else config.data.patching.strategy
            ),
        ),
    }
    for part, fields in (*parts.items(), *changes.items()):
        config = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **fields)})
    config = dataclasses.replace(config, mesh=cfg.MeshConfig(*mesh))
    validate(config)
    return config


def make_batch(seed=0):
    """Random tokens in two documents a row, rows of very different weights."""
    rng = np.random.default_rng(seed)
    shape = (ROWS, TOKENS)
    token_BT, target_BT = (rng.integers(0, 80, shape).astype(np.int32) for _ in range(2))
    patch_start_BT = rng.random(shape) < 0.7
    patch_start_BT[:, [0, 1, 10]] = True
    return Batch(
        token_BT=token_BT,
        doc_id_BT=np.broadcast_to((np.arange(TOKENS) >= 10) + 1, shape).astype(np.int32),
        patch_start_BT=patch_start_BT,
        target_BT=target_BT,
        patch_end_BT=np.concatenate([patch_start_BT[:, 1:], np.ones((ROWS, 1), bool)], 1),
        weight_BT=(rng.random(shape) < np.linspace(0.1, 1, ROWS)[:, None]).astype(np.float32),
    )


def make_mesh(config):
    sizes = dataclasses.astuple(config.mesh)
    return sharding.make_mesh(config.mesh, jax.devices()[: int(np.prod(sizes))])


def first_state(config, model, mesh):
    """The same numbers for every mesh, and quicker than to compile how real ones are drawn."""
    rng = np.random.default_rng(5)

    def fill(path, like):
        if path[0].name != "params":
            return np.zeros(like.shape, like.dtype)
        return (rng.standard_normal(like.shape) / 5 if like.ndim > 1 else np.ones(like.shape)).astype(like.dtype)

    shape = update.state_shape(config, model, mesh)
    return jax.device_put(jax.tree_util.tree_map_with_path(fill, shape), jax.tree.map(lambda x: x.sharding, shape))


def one_update(config):
    """Metrics of one update, and the state behind it."""
    mesh = make_mesh(config)
    sharding.in_parts(config, mesh)
    model = update.build_model(config, mesh, training_rows=True)
    state, numbers = first_state(config, model, mesh), update.numbers_of(config)
    numbers = numbers._replace(z_loss=np.float32(0.01), clip_norm=np.float32(1e9))
    train_step = update.make_train_step(config, model, mesh)
    state, metrics, _ = train_step(state, update.put_batch(make_batch(), mesh), numbers)
    return metrics, state


def on_host(metrics, state):
    """The first moments are the gradients, but for a factor."""
    return jax.device_get((metrics, state.opt_state.mu))


@functools.cache
def alone(system):
    """On one device."""
    return on_host(*one_update(make_config(system)))


@functools.cache
def updated(case):
    system, mesh = CASES[case]
    return one_update(make_config(system, mesh))


def assert_close(found, expected):
    def close(path, a, b):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-7 + 2e-5 * np.abs(b).max(), err_msg=str(path))

    jax.tree_util.tree_map_with_path(close, found, expected)


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES])
def test_every_mesh_has_the_metrics_and_gradients_of_one_device(case):
    assert_close(on_host(*updated(case)), alone(CASES[case][0]))


@pytest.mark.parametrize("mesh", [(1, 2, 2), pytest.param((1, 8, 1), marks=pytest.mark.slow)], ids=str)
def test_what_other_families_have_is_split_too(mesh):
    stack = cfg.StackConfig(4, 32, 4, None, head_width=4, qkv_bias=True, qk_norm="head", norm_place="after")
    stack = dataclasses.replace(stack, rope_scaling=cfg.RopeScalingConfig(8.0, positions=16))
    stack = dataclasses.replace(stack, unrotated_every=2, norm="layer", qkv_clip=1.0)
    own = {"model": dict(global_transformer=stack, tied_output=True, scan_layers=True)}
    base = make_config("base").model
    own = {"model": {f.name: getattr(base, f.name) for f in dataclasses.fields(base)} | own["model"]}
    metrics, state = one_update(make_config("base", mesh, **own))
    assert_close(on_host(metrics, state), on_host(*one_update(make_config("base", **own))))
    bias = state.params["global_transformer"]["layers_0"]["attention"]["wq"]["bias"]
    assert bias.sharding.shard_shape((16,)) == (16 // mesh[2],)


def test_heads_that_are_normed_together_are_not_split():
    stack = cfg.StackConfig(2, 32, 4, None, qk_norm="all_heads")
    config = make_config(model={**vars(make_config().model), "global_transformer": stack})
    with pytest.raises(ConfigError, match="mesh.tensor=2: splits the heads that model.global_transformer.qk_norm"):
        sharding.in_parts(config, sharding.make_mesh(cfg.MeshConfig(1, 4, 2)))


def test_the_first_parameters_are_the_same_for_every_mesh():
    configs = [make_config("base"), make_config("base", (2, 2, 2))]
    drawn = [jax.device_get(update.init_state(c, update.build_model(c, make_mesh(c)), make_mesh(c))) for c in configs]
    jax.tree.map(np.testing.assert_array_equal, *drawn)


def feed_forward(mesh):
    """The two matrices of a feed-forward network in 8 bits: a sum of its results, and the gradients, on the host."""
    placement, rng = sharding.placement_for_training(mesh, "int8"), np.random.default_rng(0)
    x_ND, up_DF, down_FD, reading_ND = (
        rng.standard_normal(shape).astype(np.float32) * 10.0 ** rng.uniform(-2, 2, (len_, 1)).astype(np.float32)
        for shape, len_ in (((8, 32), 8), ((32, 48), 32), ((48, 32), 48), ((8, 32), 8))
    )
    specs = [PartitionSpec(*(sharding.AXES.get(letter) for letter in sharding.MATRICES[name])) for name in ("w1", "w2")]

    def read(x_ND, up_DF, down_FD, reading_ND):
        hidden_NF = placement.product("w1", placement.enter(x_ND), up_DF, "float32")
        return (placement.leave(placement.product("w2", hidden_NF, down_FD, "float32")) * reading_ND).sum()

    def on_device(*given):
        value, (of_x_ND, *of_matrices) = jax.value_and_grad(read, argnums=(0, 1, 2))(*given)
        return sharding.sum_rows(mesh, value), of_x_ND, *of_matrices

    rows = sharding.batch_sharding(mesh).spec
    out_specs = (PartitionSpec(), rows, *specs)
    run = sharding.each_device(on_device, mesh, (rows, *specs, rows), out_specs)
    return jax.device_get(jax.jit(run)(x_ND, up_DF, down_FD, reading_ND))


@pytest.mark.parametrize("mesh", [(1, 4, 1), (1, 2, 2), (1, 1, 4)], ids=str)
def test_products_in_8_bits_have_the_scales_of_whole_rows_and_columns(mesh):
    alone = feed_forward(sharding.one_device())
    several = sharding.make_mesh(cfg.MeshConfig(*mesh), jax.devices()[: int(np.prod(mesh))])
    for found, expected in zip(feed_forward(several), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_a_step_with_products_in_8_bits_is_that_of_one_device_on_every_mesh():
    """A value near the middle of two integers may be rounded to the other one: that is far less than what int8 costs."""
    changes = {"train": {"matmul": "int8"}}
    meshes = [one_update(make_config("base", mesh, **changes)) for mesh in ((1, 1, 1), (1, 2, 2))]
    (one, ours), (several, theirs) = (on_host(*found) for found in meshes)
    for name in (name for name in one if name.startswith("nll_")):
        np.testing.assert_allclose(several[name], one[name], rtol=1e-4)
    plain = alone("base")[1]
    away, apart = (_distance(ours, plain), _distance(ours, theirs))
    assert apart < 0.1 * away and 0.001 < away < 0.1


def _distance(ours, theirs):
    """Relative, of two trees."""
    squares = jax.tree.map(lambda a, b: (np.sum((a - b) ** 2), np.sum(b**2)), ours, theirs)
    apart, size = np.sum(jax.tree.leaves(squares, is_leaf=lambda x: isinstance(x, tuple)), axis=0)
    return float(np.sqrt(apart / size))


def test_a_batch_in_parts_has_the_metrics_and_gradients_of_the_whole():
    assert_close(on_host(*one_update(make_config("base", (1, 2, 1), train={"accumulate": 2}))), alone("base"))


def test_an_update_is_the_same_to_the_last_bit_when_it_is_repeated():
    case = "2 data, 4 tensor"
    first, again = updated(case), one_update(make_config(*CASES[case]))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first), jax.device_get(again))


@pytest.mark.parametrize("case", ["2 data, 4 tensor", pytest.param("8 data", marks=pytest.mark.slow)])
def test_each_device_holds_its_part_of_parameters_and_moments(case):
    _, state = updated(case)
    of_data_alone = {"tok_embeddings", "output", "patch_embedding_projection", "token_embedding_projection"}
    for tree in (state.params, state.opt_state.mu, state.opt_state.nu):
        for path, x in jax.tree_util.tree_leaves_with_path(tree):
            parts = 1 if x.ndim < 2 else CASES[case][1][1] if path[-2].key in of_data_alone else 8
            assert x.addressable_shards[0].data.nbytes == x.nbytes / parts, path


def test_heads_are_split_over_tensor_and_widths_over_data():
    _, state = updated("2 data, 4 tensor")
    attention = state.params["global_transformer"]["layers_0"]["attention"]
    assert {n: x["kernel"].sharding.shard_shape((32, 32)) for n, x in attention.items()} == {
        "wq": (16, 8),
        "wk": (16, 8),
        "wv": (16, 8),
        "wo": (8, 16),
    }


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mesh": dict(data=3)}, "mesh.data=3: replica 1 × data 3 × tensor 1 must be the 8 devices; use None"),
        ({"mesh": dict(tensor=8)}, "mesh.tensor=8: must divide model.patch_encoder.heads=4; use 1"),
        ({"mesh": dict(replica=2), "data": dict(rows=12)}, "data.rows=12: must be a multiple of 8"),
        (
            {"train": dict(accumulate=2)},
            "data.rows=8: must be a multiple of 16: 8 parts of the mesh × train.accumulate=2",
        ),
        (
            {"model": dict(global_transformer=cfg.StackConfig(1, 36, 4, None))},
            "mesh.data=8: must divide model.global_transformer.width=36; use a smaller one, and a larger mesh.replica",
        ),
    ],
)
def test_sizes_that_do_not_divide_are_refused(changes, message):
    config = make_config()
    for part, fields in ({"mesh": {}} | changes).items():
        fields = dict(replica=None, data=None, tensor=1) | fields if part == "mesh" else fields
        config = dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **fields)})
    with pytest.raises(ConfigError) as error:
        sharding.in_parts(config, sharding.make_mesh(config.mesh))
    assert message in str(error.value)


def test_rows_of_a_process_are_those_of_its_devices():
    mesh = sharding.make_mesh(cfg.MeshConfig(2, 2, 2))
    assert sharding.process_rows(mesh, 16) == list(range(16))  # all devices are this process's
