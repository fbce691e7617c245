"""Every shipped recipe as it resolves, and its hash, against committed text: a review sees what a change does.

    python tests/recipes/test_golden.py

writes the golden files anew. Look at what has changed before committing it. A hash that changes makes every run of
the recipe before it a different one: none of them can be resumed.
"""

import json
import pathlib

import pytest

from lst_jax.config import config_hash, flatten, from_mapping, from_stored, to_mapping
from lst_jax.recipes.load import load_recipe

FOLDER = pathlib.Path(__file__).parent / "golden"
HASHES = FOLDER / "hashes.json"
RECIPES = {  # by representative arguments, whose resolved configurations are golden
    "demo": ["", "base", "bpe5000", "bypass", "curriculum3-from-bpe-aligned-to-mixed"],
    "lst": ["1b,curriculum", "1b,base", "7b,bypass", "420m,static"],
    "asr": ["demo", "demo,base", "1b,curriculum", "world-demo,bypass-static"],
    "tts": ["demo", "1b,bypass"],
    "long": ["demo", "1b-32k", "7b-16k,bypass"],
    "scaling": ["", "240,base", "96,bypass", "64,bpe"],
    "world": ["", "128,base", "demo,bypass", "128,bpe"],
}
MORE = {  # whose hashes are golden too
    "demo": ["static", "static12", "aligned", "aligned-merged", "bpe-aligned", "mixed", "mixed6-bpe-aligned", "bpe"],
    "lst": ["7b", "630m", "810m", "1.1b", "1.4b", "1.8b", "3b", "5b", "1b,bpe", "1b,aligned-merged"],
    "asr": ["demo,bypass", "demo,aligned", "1b,base", "1b,bypass", "7b", "world-demo,base", "world-128,bypass-static8"],
    "tts": ["demo,base", "7b"],
    "long": ["7b-32k", "1b-8k,base", "420m-16k,static6", "demo-8k,bypass"],
    "scaling": ["48", "144", "192,static"],
    "world": ["128,static9", "128,aligned", "64,mixed", "128,bypass-static", "demo-64,bypass-static,0.6"],
}
GOLDEN = [(recipe, arg) for recipe, args in RECIPES.items() for arg in args]
HASHED = GOLDEN + [(recipe, arg) for recipe, args in MORE.items() for arg in args]


def resolved(recipe, arg):
    return load_recipe(f"configs/{recipe}.py:{arg}")


def golden_path(recipe, arg):
    return FOLDER / f"{recipe}-{arg.replace(',', '-') or 'default'}.json"


def golden_text(config):
    return json.dumps(flatten(to_mapping(config)), indent=1, sort_keys=True) + "\n"


def hashes():
    return {f"{recipe}:{arg}": config_hash(resolved(recipe, arg)) for recipe, arg in HASHED}


@pytest.mark.parametrize("recipe, arg", GOLDEN)
def test_a_recipe_resolves_to_its_golden_text(recipe, arg):
    assert golden_text(resolved(recipe, arg)) == golden_path(recipe, arg).read_text()


def test_every_shipped_recipe_has_a_golden_text():
    assert set(RECIPES) == {path.stem for path in pathlib.Path("configs").glob("*.py")}
    assert {path.name for path in FOLDER.iterdir()} == {golden_path(*key).name for key in GOLDEN} | {HASHES.name}


def test_hashes_of_configurations_are_those_of_the_runs_before():
    assert hashes() == json.loads(HASHES.read_text())


@pytest.mark.parametrize("recipe, arg", GOLDEN)
def test_a_resolved_configuration_is_complete(recipe, arg):
    config = resolved(recipe, arg)
    assert from_stored(to_mapping(config)) == config == from_mapping(to_mapping(config))


if __name__ == "__main__":
    for name, argument in GOLDEN:
        golden_path(name, argument).write_text(golden_text(resolved(name, argument)))
    HASHES.write_text(json.dumps(hashes(), indent=1, sort_keys=True) + "\n")
