"""How to add a patching strategy: one class, registered. Nothing in the package knows of the one below."""

import functools
import itertools

import numpy as np
import pytest
from synthetic_data import config_over, make_config, tokenizer, write_both

from lst_jax.core.errors import ConfigError
from lst_jax.data.patching import STRATEGIES, BoundaryRule, Static, StaticRule, Strategy, register
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.row_streams import RowStreams
from lst_jax.jobs.sweeps.trials import label_of
from lst_jax.recipes.load import load_recipe


class Growing(Strategy):
    """Static patches that grow by a unit per step, from one unit to `static_size`."""

    name = "growing"
    pattern = r"growing(?P<size>[1-9]\d*)"
    usage = ("growingP",)

    @functools.cached_property
    def inference_rule(self) -> BoundaryRule:
        return StaticRule(self.config.static_size)

    def draw(self, step, rng) -> BoundaryRule:
        return StaticRule(min(1 + step, self.config.static_size))

    @property
    def label(self) -> str:
        return f"growing-to-{self.config.static_size}"

    @classmethod
    def fields_of(cls, found):
        return {"static_size": int(found["size"])}


@pytest.fixture
def strategies():
    """Leaves the registry as it was before the test."""
    before = dict(STRATEGIES)
    yield
    STRATEGIES.clear()
    STRATEGIES.update(before)


def test_a_registered_strategy_is_a_system_of_every_recipe(strategies):
    register(Growing)
    config = load_recipe("configs/demo.py:growing6")
    patching = config.data.patching
    assert (patching.strategy, patching.static_size, config.model.architecture) == ("growing", 6, "lst")
    assert load_recipe("configs/demo.py:bypass-growing6").model.architecture == "lst_bypass"
    assert label_of(config) == "growing-to-6"
    with pytest.raises(ConfigError, match=r"no such system; use base, bpe\[SIZE\], .*, growingP or bypass"):
        load_recipe("configs/demo.py:growing")


def test_the_stream_cuts_documents_as_the_strategy_says(strategies, tmp_path):
    register(Growing)
    config = config_over(write_both(tmp_path), tokens=320, units=320, strategy="growing", static_size=3)
    stream = BatchStream(config)
    vocab = config.joint_vocab
    for step in itertools.islice(stream, 4):
        opened_now = 0
        for token, doc, start in zip(*[step.batch[i] for i in (0, 3, 4)], strict=True):
            for number in range(1, doc.max() + 1):
                here = np.flatnonzero(doc == number)
                if token[here[0]] != 1:  # a document that an earlier step opened
                    continue
                opened_now += 1
                is_speech = vocab.is_speech(token[here])
                for run in np.split(here, 1 + np.flatnonzero(is_speech[1:] != is_speech[:-1])):
                    size = min(1 + step.step, 3) if vocab.is_speech(token[run[0]]) else 1
                    assert np.flatnonzero(start[run]).tolist() == list(range(0, len(run), size))
        assert opened_now
    stream.close()


def test_a_strategys_own_rules_are_checked(strategies):
    register(Growing)
    with pytest.raises(ConfigError, match="boundary_noise_ms=40.0: moves aligned boundaries, and strategy='growing'"):
        make_config(strategy="growing", noise_ms=40.0)


def test_a_name_that_only_the_config_knows_fails_with_the_nearest_name():
    expected = "data.patching.strategy='growing': must be one of static, aligned, mixed, curriculum, none; nearest: "
    with pytest.raises(ConfigError, match=expected):
        make_config(strategy="growing")
    with pytest.raises(ConfigError, match="strategy='curiculum': .*; nearest: curriculum$"):
        load_recipe("configs/demo.py", ["data.patching.strategy=curiculum"])


def test_rows_are_not_made_for_an_unknown_strategy(strategies):
    register(Growing)
    config = make_config(strategy="growing")
    del STRATEGIES["growing"]
    with pytest.raises(ConfigError, match="strategy='growing': must be one of"):
        RowStreams(config, [[], []], tokenizer())


def test_what_is_not_complete_fails_when_it_is_registered(strategies):
    class NoRule(Strategy):
        name = "no rule"

    class NoName(Static):
        name = ""

    class NoUsage(Static):
        name, usage = "no usage", ()

    class Twice(Static):
        pass

    register(Growing)
    again = type("Growing", (Growing,), {"__module__": Growing.__module__, "__qualname__": Growing.__qualname__})
    assert register(again) is STRATEGIES["growing"] is again  # as when a recipe's file is loaded a second time
    for kind, error, message in (
        (NoRule, TypeError, "not a complete patching strategy; define inference_rule"),
        (NoName, TypeError, "has no name"),
        (NoUsage, TypeError, "has a pattern but no usage"),
        (Twice, ValueError, "has the name 'static' already"),
    ):
        with pytest.raises(error, match=message):
            register(kind)
    assert list(STRATEGIES) == ["static", "aligned", "mixed", "curriculum", "none", "growing"]
