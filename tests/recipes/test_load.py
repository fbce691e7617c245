"""Loading a recipe: what it may look like, what can be changed from outside, and one line for every mistake."""

import pathlib

import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.recipes.inherit import named
from lst_jax.recipes.load import load_recipe, load_recipe_module

DEMO = pathlib.Path("configs/demo.py").read_text()


def test_a_missing_recipe_is_named():
    with pytest.raises(ConfigError, match=r"configs/nothing\.py: no such recipe"):
        load_recipe("configs/nothing.py:arg")


def test_fields_of_a_recipe_can_be_changed_from_outside():
    config = load_recipe("configs/demo.py", ("train.accumulate=4", "mesh.data=8", "train.bad_step=skip"))
    assert (config.train.accumulate, config.mesh.data, config.train.bad_step) == (4, 8, "skip")


@pytest.mark.parametrize(
    "change, message",
    [
        ("train.acumulate=4", "--set train.acumulate=4: must be FIELD=VALUE of a field that the recipe has"),
        ("steps.of=4", "--set steps.of=4: must be"),
        ("train.accumulate", "--set train.accumulate: must be"),
        ("train.accumulate=four", "train.accumulate='four': must be int, not str"),
        ("train.accumulate=0", "train.accumulate=0: must be at least 1; use 1"),
    ],
)
def test_a_wrong_change_is_refused_by_name(change, message):
    with pytest.raises(ConfigError) as error:
        load_recipe("configs/demo.py", (change,))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("def get_config(arg):\n    return (\n", "mine.py: line 2: not valid Python ("),
        ("text = '\udcff'\n", "mine.py: line 1: not valid Python ((unicode error) 'utf-8' codec"),
        ("x = 1\n", "mine.py: has no get_config(arg); define it"),
        ("get_config = 3\n", "mine.py: has no get_config(arg); define it"),
        ("def get_config():\n    pass\n", "mine.py: get_config must take one argument; define it as get_config(arg)"),
        ("def get_config(arg):\n    return {}\n", "mine.py: get_config returned a dict; return an ml_collections.Con"),
        ("def get_config(arg):\n    pass\n", "mine.py: get_config returned None; return an ml_collections.ConfigD"),
        (
            "def get_config(arg):\n    f()\ndef f():\n    1 / 0\n",
            "mine.py: line 4: ZeroDivisionError: division by zero;",
        ),
        ("import pathlib\nimport no_such_module\n", "mine.py: line 2: ModuleNotFoundError: No module named"),
        ("import json\ndef get_config(arg):\n    json.loads('{')\n", "mine.py: line 3: JSONDecodeError: Expecting"),
        (DEMO.replace("UNITS = 500", "UNITS = 'many'"), "vocab.unit_slots='many': must be int, not str"),
        (DEMO.replace("ffn_multiple=64", "rope_theta=None"), "model.rope_theta=None: must be float, not None"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_with_its_place(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError) as error:
        load_recipe(str(tmp_path / "mine.py"))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_mistake_in_a_recipe_that_another_one_builds_on_is_placed_there(tmp_path):
    (tmp_path / "first.py").write_text("def get_config(arg):\n    return arg.nothing\n")
    (tmp_path / "second.py").write_text(
        "from lst_jax.recipes.inherit import sibling\n"
        "FIRST = sibling(__file__, 'first.py')\n"
        "def get_config(arg):\n    return FIRST.get_config(arg)\n"
    )
    with pytest.raises(
        ConfigError, match=r"first\.py: line 2: AttributeError: 'str' object has no attribute 'nothing'"
    ):
        load_recipe(str(tmp_path / "second.py"))


def test_a_recipe_in_another_language_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: a recipe is a Python file with get_config\(arg\)"):
        load_recipe(str(tmp_path / "mine.yaml"))


def test_former_names_in_a_recipe_and_in_changes_work_and_are_told_once(tmp_path, capsys):
    former = DEMO.replace("row_patches=", "row_units=").replace("architecture=", "system=")
    (tmp_path / "old.py").write_text(former)
    changes = ("data.mixture_measure=units", "data.row_units=480")
    for _ in range(2):
        found = load_recipe(str(tmp_path / "old.py"), changes)
    assert found == load_recipe("configs/demo.py", ("data.mixture_measure=patches", "data.row_patches=480"))
    told = capsys.readouterr().err.splitlines()
    assert sorted(told) == [
        "warning: --set data.row_units: is called data.row_patches now; the former name still works",
        "warning: data.mixture_measure='units': is called 'patches' now; the former name still works",
        "warning: data.row_units: is called data.row_patches now; the former name still works",
        "warning: model.system: is called model.architecture now; the former name still works",
    ]


def test_a_field_that_a_recipe_gives_by_both_names_is_refused(tmp_path):
    (tmp_path / "both.py").write_text(DEMO.replace("rows=4,", "rows=4, row_units=512,"))
    with pytest.raises(ConfigError, match=r"data\.row_units=512: is called data\.row_patches now, which is given too"):
        load_recipe(str(tmp_path / "both.py"))


def test_a_default_that_the_recipe_does_not_write_can_be_changed():
    assert "weight_decay" not in DEMO
    assert load_recipe("configs/demo.py", ("optim.weight_decay=0.2",)).optim.weight_decay == 0.2


@pytest.mark.parametrize("word", ["null", "None"])
def test_none_is_written_as_in_json_or_as_in_recipes(word):
    assert load_recipe("configs/demo.py", (f"train.hang_minutes={word}",)).train.hang_minutes is None


def test_a_source_is_changed_by_its_place_or_its_name():
    by_name = load_recipe("configs/demo.py", ("data.sources.text.share=3",))
    assert by_name == load_recipe("configs/demo.py", ("data.sources.1.share=3",))
    with pytest.raises(ConfigError, match=r"--set data\.sources\.speech\.share=3: must be FIELD=VALUE"):
        load_recipe("configs/demo.py", ("data.sources.speech.share=3",))


def test_sources_are_inherited_by_name():
    sources = load_recipe_module("configs/demo.py").get_config("").eval.sources
    assert [source["name"] for source in named(sources, "text", "valid")] == ["text", "valid"]
    with pytest.raises(
        ConfigError, match="source 'dev': the recipe has none of this name; use one of valid, test, text"
    ):
        named(sources, "dev")
