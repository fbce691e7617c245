"""What the classes of architectures say agrees with what host code finds in a configuration alone."""

import pytest

from lst_jax.data.rows import windows_of
from lst_jax.model.architectures.registry import architecture_named
from lst_jax.recipes.load import load_recipe


@pytest.mark.parametrize("arg", ["base", "static", "curriculum", "bypass-static"])
def test_rows_and_model_agree_on_the_tokens_that_pass_the_local_networks(arg):
    config = load_recipe(f"configs/demo.py:{arg}")
    architecture = architecture_named(config.model.architecture)
    assert windows_of(config).local_from == architecture.local_from(config.joint_vocab)
    assert (architecture.local_from(config.joint_vocab) > 0) == arg.startswith("bypass")
