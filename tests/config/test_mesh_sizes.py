"""Which mesh a trained model answers on."""

import dataclasses

import pytest
import synthetic_data

from lst_jax.config import MeshConfig, StackConfig
from lst_jax.config.mesh_sizes import MeshSizes, in_parts, sizes_to_use
from lst_jax.core.errors import ConfigError


def run(mesh, rows=16, accumulate=1, width=32):
    """A trained run's configuration: 4 heads, and widths of 32 unless said."""
    config = synthetic_data.make_config(rows=rows)
    stack = StackConfig(1, width, 4, None)
    model = dataclasses.replace(
        config.model,
        patch_encoder=stack,
        patch_decoder=stack,
        global_transformer=stack,
        cross_heads=4,
        ffn_multiple=8,
    )
    train = dataclasses.replace(config.train, accumulate=accumulate)
    return dataclasses.replace(config, mesh=mesh, model=model, train=train)


@pytest.mark.parametrize(
    ("devices", "own", "most", "parts"),
    [(8, 1, None, 1), (8, 1, 4, 1), (4, 1, 4, 1), (2, 1, 4, 2), (1, 1, 4, 4), (1, 1, 5, 4), (1, 8, 4, 8), (2, 2, 1, 8)],
)
def test_fewer_devices_compute_the_same_batch_in_more_parts(devices, own, most, parts):
    config = run(MeshConfig(1, None, 1), accumulate=own)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, rows_at_once=most))
    found = in_parts(config, MeshSizes(1, devices, 1))
    assert found.train.accumulate == parts
    assert dataclasses.replace(found, train=config.train) == config


@pytest.mark.parametrize(
    ("mesh", "devices", "sizes"),
    [
        (MeshConfig(None, None, 1), 1, (1, 1, 1)),
        (MeshConfig(None, None, 1), 8, (1, 8, 1)),
        (MeshConfig(2, None, 2), 8, (2, 2, 2)),  # the run's own
        (MeshConfig(None, 64, 4), 8, (1, 2, 4)),  # a pod's: its tensor parts, and what is left
        (MeshConfig(None, 64, 4), 2, (1, 1, 2)),
        (MeshConfig(None, None, 1), 6, (1, 4, 1)),  # 6 divides neither widths nor rows
        (MeshConfig(None, 4, 2), 1, (1, 1, 1)),
    ],
)
def test_without_a_wish_it_is_the_run_s_mesh_as_far_as_the_devices_allow(mesh, devices, sizes):
    assert sizes_to_use(run(mesh), None, devices) == sizes


def test_parts_of_an_accumulated_batch_do_not_count():
    assert sizes_to_use(run(MeshConfig(), rows=8, accumulate=8), None, 8) == (1, 8, 1)


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [(MeshConfig(1, 1, 1), (1, 1, 1)), (MeshConfig(None, None, 4), (1, 2, 4)), (MeshConfig(None, 2, 2), (1, 2, 2))],
)
def test_a_wish_is_taken_on_as_many_devices_as_it_names(asked, sizes):
    assert sizes_to_use(run(MeshConfig(None, 64, 1)), asked, 8) == sizes


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (MeshConfig(None, 16, 1), "mesh.data=16: replica 1 × data 16 × tensor 1 must be the 8 devices"),
        (MeshConfig(None, None, 16), "must be the 8 devices"),
        (MeshConfig(None, 1, 8), "mesh.tensor=8: must divide model.patch_encoder.heads=4; use 1"),
    ],
)
def test_a_wish_that_does_not_suit_is_refused(asked, message):
    with pytest.raises(ConfigError, match=message):
        sizes_to_use(run(MeshConfig()), asked, 8)
