"""The paper's models as recipes."""

import importlib.util
import pathlib

import jax
import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.model.architectures import registry
from lst_jax.recipes.load import load_recipe

GOLDEN = pathlib.Path(__file__).parent / "golden_parameters.txt"


@pytest.mark.parametrize(
    "arg, parameters",
    [
        ("1b", 1_527_911_424),  # paper §4
        ("1b,base", 2 * 32_508 * 2048 + 25 * (4 * 2048**2 + 3 * 2048 * 5632 + 2 * 2048) + 2048),  # Llama-shaped
    ],
)
def test_the_models_have_the_paper_s_parameters(arg, parameters):
    assert sum(x.size for x in jax.tree.leaves(shapes_of(arg))) == parameters


def parameter_line(size, system):
    """Parameters of a recipe, by network, as text."""
    shapes = shapes_of(f"{size},{system}")
    parts = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in sorted(shapes.items())}
    detail = ", ".join(f"{name} {count:,}" for name, count in parts.items())
    return f"{size + ('' if system != 'base' else ',base'):<12}{sum(parts.values()):>16,}  {detail}\n"


def parameter_table():
    """Every size, LST and Base."""
    sizes = recipe().SIZES | recipe().STUDY
    lines = [parameter_line(size, system) for size in sizes for system in ("curriculum", "base")]
    return f"{'':<12}{'all':>16}  by network\n" + "".join(lines)


def shapes_of(arg):
    config = load_recipe(f"configs/lst.py:{arg}")
    return jax.eval_shape(lambda: registry.init(config, jax.random.key(0)))


def recipe():
    spec = importlib.util.spec_from_file_location("recipe_lst", "configs/lst.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_parameters_of_every_size_are_those_of_the_golden_table():
    """`python tests/test_lst_recipe.py` writes it anew: look at what has changed before committing it."""
    assert parameter_table() == GOLDEN.read_text()


@pytest.mark.parametrize(
    "size, system",
    [
        ("420m", "base"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in [("420m", "curriculum"), ("7b", "base")]),
    ],
)
def test_the_parameters_of_a_size_are_those_of_the_golden_table(size, system):
    assert parameter_line(size, system) in GOLDEN.read_text()


def test_the_sizes_of_the_study_have_the_parameters_in_their_names():
    table = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in GOLDEN.read_text().splitlines()[1:]}
    for size, parameters in recipe().STUDY.items():
        assert abs(table[size] / parameters - 1) < 0.02
    assert [*recipe().STUDY.values()] == sorted(recipe().STUDY.values())


@pytest.mark.parametrize(
    "arg", ["7b", "7b,base", "420m,base", "5b", "1b,static", "1b,static1", "1b,bypass-static", "1b,bpe", "7b,mixed"]
)
def test_every_size_takes_every_system(arg):
    config = load_recipe(f"configs/lst.py:{arg}")
    assert config.name.startswith(f"lst-{arg.partition(',')[0]}-") and config.data.row_patches == 4096


@pytest.mark.parametrize(
    "arg, message", [("2b", "no such size; use one of 1b, 7b, 420m"), ("1b,statik", "no such system; use base")]
)
def test_another_argument_is_refused_in_one_line(arg, message):
    with pytest.raises(ConfigError, match=f"configs/lst.py:{arg}: {message}"):
        load_recipe(f"configs/lst.py:{arg}")


if __name__ == "__main__":
    GOLDEN.write_text(parameter_table())
