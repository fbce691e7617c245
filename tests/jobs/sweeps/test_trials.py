"""From a recipe's overlays to runs with names, and the file that keeps them."""

import dataclasses
import json
import pathlib

import pytest
import sweep_recipe
from quick_cost import full_rows

from lst_jax.core.errors import ConfigError, DataError
from lst_jax.cost import budget
from lst_jax.jobs.sweeps.trials import label_of, make_sweep, open_sweep, read_sweep
from lst_jax.recipes.load import load_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return sweep_recipe.recipe_in(tmp_path_factory.mktemp("recipe"))


def test_another_order_of_a_grid_renames_nothing(recipe):
    names = [trial.name for trial in make_sweep(f"{recipe}:seeds").trials]
    assert [trial.name for trial in make_sweep(f"{recipe}:turned").trials] == names[::-1]
    assert len(set(names)) == 2 and all(name.startswith("tiny-plain-") for name in names)
    assert set(names) < {trial.name for trial in make_sweep(f"{recipe}:wide").trials}  # nor do other runs


def test_a_trial_s_words_give_its_configuration(recipe):
    (trial,) = make_sweep(f"{recipe}:shares").trials
    assert trial.changes == ("data.sources.0.share=3.0",) and trial.label == "more speech"
    assert load_recipe(trial.recipe, trial.changes) == trial.config()
    assert trial.config().data.sources[0].share == 3.0


def test_a_budget_is_written_out_as_steps(recipe):
    few, many = make_sweep(f"{recipe}:budgets").trials
    assert 1.8 < many.steps / few.steps < 2.2 and f"train.steps={few.steps}" in few.changes
    assert few.tokens == pytest.approx(1e4, rel=0.1) and few.config().train.steps == few.steps


def test_branches_follow_their_trunk_and_go_on_from_its_checkpoints(recipe):
    trunk, short, long = make_sweep(f"{recipe}:family").trials
    assert (trunk.trunk, short.trunk, long.trunk) == (None, trunk.name, trunk.name)
    assert (short.steps, short.branch_step, long.steps, long.branch_step) == (4, 2, 6, 4)
    place = f"train.branch_from=there/{trunk.name}/checkpoints/00000004"
    assert long.changes_in(pathlib.PurePath("there"))[-1] == place and place not in long.changes
    assert long.config().train.branch_from.endswith("00000004") and long.config().optim.wsd.decay_steps == 2
    assert long.own_share == pytest.approx(1 / 3) and trunk.own_share == 1


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "twice",
            r"recipe.py:twice: \{seed: 1\} trains the same as an overlay before it \(tiny-plain-\w+\); leave one",
        ),
        ("free", r"recipe.py:free: \{train.log_every: 2\} trains the same"),
        ("typo", r"recipe.py:typo: run 1 \{optim.peek_lr: 0.001\}: --set optim.peek_lr=0.001: must be"),
        ("kind", r"recipe.py:kind: run 1 \{seed: 'one'\}: seed='one': must be int"),
        ("none", "recipe.py:none: adds no runs"),
        ("unkept", "recipe.py:unkept: run 1 .* its decay begins at step 3, of which the trunk keeps no checkpoint"),
        ("beyond", "recipe.py:beyond: run 1 .* begins at step 8, where the trunk's learning rate is not at its peak"),
        ("cosine", "recipe.py:cosine: run 1 .* optim.schedule='cosine': has no stable part to branch off"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_one_line(recipe, name, message):
    with pytest.raises(ConfigError, match=message) as error:
        make_sweep(f"{recipe}:{name}")
    assert "\n" not in str(error.value)


def test_a_recipe_without_sweeps_is_refused(tmp_path):
    (tmp_path / "plain.py").write_text("def get_config(arg): ...")
    with pytest.raises(ConfigError, match=r"plain.py: has no sweep\(add, name\)"):
        make_sweep(f"{tmp_path / 'plain.py'}:x")


def test_the_file_keeps_the_sweep(recipe, tmp_path):
    made = open_sweep(tmp_path, f"{recipe}:seeds")
    assert open_sweep(tmp_path, None) == read_sweep(tmp_path) == made


def test_a_recipe_that_has_changed_is_noticed(tmp_path):
    recipe = sweep_recipe.recipe_in(tmp_path)
    trial = make_sweep(f"{recipe}:seeds").trials[0]
    stored = json.loads((tmp_path / "recipe.json").read_text())
    stored["optim"]["peak_lr"] *= 2
    (tmp_path / "recipe.json").write_text(json.dumps(stored))
    with pytest.raises(ConfigError, match=f"no longer gives the configuration of {trial.name}"):
        trial.config()


def test_a_damaged_or_missing_file_says_what_to_do(recipe, tmp_path):
    with pytest.raises(ConfigError, match=r"sweep.json: no such sweep; make it: lst sweep run .* --config"):
        read_sweep(tmp_path)
    open_sweep(tmp_path, f"{recipe}:seeds")
    path = tmp_path / "sweep.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match="sweep.json: is not JSON .*; make it anew with --config"):
        read_sweep(tmp_path)
    path.write_text(json.dumps({"format_version": 9}))
    with pytest.raises(DataError, match="format_version=9, this code reads 1"):
        read_sweep(tmp_path)


@pytest.mark.parametrize("arg", ["base", "bpe", "static", "static6", "mixed", "curriculum", "bypass-static"])
def test_labels_are_short_names_of_systems(arg):
    label = {"static": "static-4", "static6": "static-6", "bypass-static": "bypass-static-4"}.get(arg, arg)
    assert label_of(load_recipe(f"configs/demo.py:{arg}")) == label


@pytest.mark.parametrize(
    "reference, runs",
    [
        ("configs/lst.py:speech-share", 4),
        ("configs/lst.py:static-size", 4),
        ("configs/lst.py:strategies", 8),
        ("configs/lst.py:curriculum", 17),
        ("configs/lst.py:seeds", 9),
        ("configs/lst.py:compute-optimal", 12),
        ("configs/lst.py:learning-rate", 15),
        ("configs/scaling.py:compute-optimal", 28),
        ("configs/scaling.py:wsd", 48),
        *((f"configs/world.py:{name}", 16) for name in ("flops", "tokens", "steps")),
        ("configs/world.py:rates", 32),
        ("configs/world.py:shares", 6),
        ("configs/world.py:patches", 7),
        ("configs/world.py:noise", 3),
        ("configs/world.py:laws", 50),
        ("configs/world.py:demo", 2),
        ("configs/world.py:voices", 2),
        ("configs/world.py:best", 24),
        ("configs/world.py:small", 16),
        ("configs/world.py:gpu", 2),
    ],
)
def test_the_sweeps_of_the_paper_are_there(reference, runs, monkeypatch):
    monkeypatch.setattr(budget, "cost", full_rows)
    trials = make_sweep(reference).trials
    assert len(trials) == runs
    if reference.endswith("share"):
        assert [t.label for t in trials] == ["1:4", "1:3", "1:2", "1:1"]
        assert trials[2].changes == () and trials[0].config().data.row_tokens < trials[3].config().data.row_tokens
    if reference.endswith("seeds"):
        assert {dataclasses.replace(t.config(), seed=0).name for t in trials} == {
            "lst-1b-curriculum",
            "lst-1b-static",
            "lst-1b-base",
        }
