"""The paper's models as recipes."""

import jax
import pytest

from lst_jax import config as cfg
from lst_jax.errors import ConfigError
from lst_jax.model import lst


@pytest.mark.parametrize("arg, parameters", [
    ("1b", 1_527_911_424),  # paper §4
    ("1b,base", 2 * 32_508 * 2048 + 25 * (4 * 2048**2 + 3 * 2048 * 5632 + 2 * 2048) + 2048),  # Llama-shaped
])
def test_the_models_have_the_paper_s_parameters(arg, parameters):
    config = cfg.load_recipe(f"configs/lst.py:{arg}")
    shapes = jax.eval_shape(lambda: lst.init(config, jax.random.key(0)))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == parameters


@pytest.mark.parametrize("arg", ["7b", "7b,base", "1b,static", "1b,static1", "1b,bypass-static", "1b,bpe", "7b,mixed"])
def test_every_size_takes_every_system(arg):
    config = cfg.load_recipe(f"configs/lst.py:{arg}")
    assert config.name.startswith(f"lst-{arg.partition(',')[0]}-") and config.data.row_units == 4096


@pytest.mark.parametrize("arg, message", [("2b", "no such size; use 1b or 7b"),
                                          ("1b,statik", "no such system; use base")])
def test_another_argument_is_refused_in_one_line(arg, message):
    with pytest.raises(ConfigError, match=f"configs/lst.py:{arg}: {message}"):
        cfg.load_recipe(f"configs/lst.py:{arg}")
