"""Shapes, rates and counts from a model's size."""

import dataclasses
import pathlib

import jax
import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.cost.parameters import parameters, parameters_by_network
from lst_jax.model.architectures import registry
from lst_jax.recipes import defaults
from lst_jax.recipes.load import load_recipe

GOLDEN = (pathlib.Path(__file__).parent / "golden_parameters.txt").read_text().splitlines()[1:]
# of the study, as docs/results.md has plans of them: global width, global layers, decoder layers
SHAPES = {
    "420m": (1280, 16, 6),
    "630m": (1536, 18, 6),
    "810m": (1664, 19, 7),
    "1.1b": (1792, 23, 8),
    "1.4b": (2048, 23, 8),
    "1.8b": (2176, 26, 9),
    "3b": (2560, 32, 12),
    "5b": (3072, 38, 14),
}


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=[pytest.mark.slow] * line.startswith(("3b", "5b"))) for line in GOLDEN],
    ids=lambda line: line.split()[0],
)
def test_the_count_of_every_size_is_that_of_the_golden_table(line):
    arg, count, *rest = line.split(maxsplit=2)
    config = load_recipe(f"configs/lst.py:{arg if ',' in arg else arg + ',curriculum'}")
    assert f"{parameters(config.model, config.joint_vocab):,}" == count
    by_network = parameters_by_network(config.model, config.joint_vocab)
    assert ", ".join(f"{name} {n:,}" for name, n in sorted(by_network.items())) == rest[0]


def of_widths(config, global_width, local_width, queries):
    """What decides which projections there are."""

    def at(stack, width):
        return stack and dataclasses.replace(stack, width=width, heads=4, layers=2)

    m = config.model
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            m,
            patch_encoder=at(m.patch_encoder, local_width),
            global_transformer=at(m.global_transformer, global_width),
            patch_decoder=at(m.patch_decoder, local_width),
            queries_per_patch=queries,
        ),
    )


WIDTHS = {"both-projected": (192, 128, 2), "global-output-projected": (256, 128, 2), "none-projected": (128, 128, 1)}
# in `make test` each pair of a system and widths, in one of the two depths of cross-attention
QUICK = {("both-projected", True), ("global-output-projected", False), ("none-projected", True)}


@pytest.mark.parametrize(
    "size, every_layer",
    [
        pytest.param(widths, every, id=f"{name}-{every}", marks=[pytest.mark.slow] * ((name, every) not in QUICK))
        for name, widths in WIDTHS.items()
        for every in (True, False)
    ],
)
@pytest.mark.parametrize("system", ["curriculum", "base", "bypass"])
def test_the_count_is_that_of_the_model_with_and_without_projections(system, size, every_layer):
    config = of_widths(load_recipe(f"configs/demo.py:{system}"), *size)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model, encoder_cross_all_layers=every_layer, decoder_cross_all_layers=every_layer
        ),
    )
    shapes = jax.eval_shape(lambda: registry.init(config, jax.random.key(0)))
    assert parameters_by_network(config.model, config.joint_vocab) == {
        name: sum(x.size for x in jax.tree.leaves(part)) for name, part in shapes.items()
    }


def test_the_study_has_the_shapes_that_were_planned():
    for size, (width, layers, decoder) in SHAPES.items():
        model = load_recipe(f"configs/lst.py:{size}").model
        assert (model.global_transformer.width, model.global_transformer.layers) == (width, layers)
        assert model.patch_decoder.layers == decoder and model.patch_encoder.width == width // 2


def test_a_shape_keeps_the_count_and_the_proportions():
    shape = defaults.shape_for(1e8, lambda width, layers: 12 * width**2 * layers)
    assert shape.width % 128 == 0 and abs(12 * shape.width**2 * shape.layers / 1e8 - 1) <= 0.02
    assert 0.6 < shape.width / shape.layers / 82 < 1.6


def test_a_count_that_no_width_meets_is_refused():
    with pytest.raises(ConfigError, match="parameters=1000: no width in multiples of 128 comes within 2%; choose"):
        defaults.shape_for(1000.0, lambda width, layers: 12 * width**2 * layers)


def test_depths_are_the_paper_s_in_proportion():
    assert [defaults.depth_for(width) for width in (32, 1024, 2048, 4096)] == [2, 12, 25, 50]
    assert [defaults.decoder_layers_for(layers) for layers in (1, 2, 12, 25)] == [1, 1, 4, 9]


def test_the_rate_is_the_paper_s_at_its_width_and_never_rises_with_width():
    rates = [defaults.learning_rate_for(width) for width in range(32, 4097, 32)]
    assert rates == sorted(rates, reverse=True) and rates[0] == 2e-3
    assert defaults.learning_rate_for(2048) == 4e-4 and defaults.learning_rate_for(512) == pytest.approx(8e-4)


def test_a_batch_grows_with_the_budget():
    assert defaults.batch_tokens_for(1e20) == pytest.approx(1.02e6, rel=0.01)
    assert defaults.batch_tokens_for(1e18) < defaults.batch_tokens_for(1e19)
