"""What patching saves of a step's time, held by the TPU compiler's estimate of a cut 1B model.

Programs of two layers per stack are compiled at full effort, as docs/results.md has them at full depth. The layers of a
stack are alike and run in a loop, so the time of a whole stack is that of two layers times its depth over two. What a
stack does once counts with its layers here: each bound allows for that.
"""

import functools

import jax
import pytest

from lst_jax.bench import patching_time
from lst_jax.cost import topology
from lst_jax.cost.kinds import OPTIMIZER, USEFUL
from lst_jax.parallel.sharding import one_device
from lst_jax.recipes.load import load_recipe

LAYERS = 2
STACKS = {"global transformer": "global_transformer", "patch decoder": "patch_decoder"}


@pytest.fixture(autouse=True)
def no_compilation_cache():
    """A program for a chip that is not here can be kept by JAX's cache, and not read again."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", before)


@functools.cache
def cut(system):
    """The estimate of a system with `LAYERS` layers per stack, the depths of its stacks, and real tokens per step."""
    pytest.importorskip("libtpu")
    whole = load_recipe(f"configs/lst.py:1b,{system}")
    depth = {part: stack.layers for part, name in STACKS.items() if (stack := getattr(whole.model, name))}
    changes = [f"model.{STACKS[part]}.layers={LAYERS}" for part in depth]
    shallow = load_recipe(f"configs/lst.py:1b,{system}", changes)
    mesh = one_device(topology.devices("v5p:2x2x1")[0])
    estimated = patching_time.compiled_estimate(patching_time.program_of(shallow), mesh)
    return estimated, depth, patching_time.ROWS * patching_time.real_tokens_per_row(shallow)


def layer_sec(system, part):
    return cut(system)[0].part_sec(part) / LAYERS


def token_sec(system):
    """Seconds per real token at full depth, without the optimizer."""
    estimated, depth, tokens = cut(system)
    more = sum((layers - LAYERS) * layer_sec(system, part) for part, layers in depth.items())
    return (estimated.step_sec - estimated.part_sec(OPTIMIZER) + more) / tokens


def test_a_decoder_layer_costs_little_more_than_half_a_global_layer():
    assert 0.4 < layer_sec("static", "patch decoder") / layer_sec("static", "global transformer") < 0.66


@pytest.mark.parametrize("part", STACKS)
def test_most_of_a_stack_is_matrix_products_and_attention_kernels(part):
    estimated = cut("static")[0]
    assert sum(estimated.by_part.get((part, kind), 0.0) for kind in USEFUL) / estimated.part_sec(part) > 0.75


def test_a_token_takes_less_time_than_in_base_and_least_where_text_goes_past_the_local_networks():
    base = token_sec("base")
    assert 0.9 < token_sec("static") / base < 1.03  # 1.007 here, and 0.970 at full depth
    assert 0.8 < token_sec("bypass-static") / base < 0.95  # 0.899, and 0.888
