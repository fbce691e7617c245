"""What `lst plan --hlo DIR` keeps can be read again, and programs do not take each other's files."""

import dataclasses

import jax
import jax.numpy as jnp

from lst_jax.cost import compiled_files, hlo
from lst_jax.cost.program import program_costs
from lst_jax.recipes.load import load_recipe


def test_a_kept_program_costs_what_the_compiled_one_does(tmp_path):
    config = load_recipe("configs/demo.py")
    compiled = jax.jit(lambda x: x @ x).lower(jnp.ones((8, 8))).compile()
    text = compiled_files.keep(str(tmp_path / "programs"), compiled, config)
    assert text.read_text() == compiled.as_text() and text.name.startswith("demo-curriculum-")
    kept = program_costs(hlo.parse(text.with_suffix(".pb").read_bytes()), {"data": 1})
    assert kept == program_costs(hlo.parse(hlo.serialized(compiled)), {"data": 1}) and kept.flops == 2 * 8**3


def test_programs_of_one_configuration_that_differ_in_remat_or_parts_have_files_of_their_own(tmp_path):
    config = load_recipe("configs/demo.py")
    compiled = jax.jit(lambda x: x + x).lower(jnp.ones(8)).compile()
    changed = [
        config,
        dataclasses.replace(config, model=dataclasses.replace(config.model, remat="full")),
        dataclasses.replace(config, train=dataclasses.replace(config.train, accumulate=2)),
    ]
    assert len({compiled_files.keep(str(tmp_path), compiled, one) for one in changed}) == 3
