"""Runs that go on from a stable checkpoint of another one, to decay from there."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest
from test_init_from import parameters, short
from training_run import make_data, tokenizer_of

from lst_jax import config as cfg
from lst_jax.core import json_files
from lst_jax.core.errors import CheckpointError, ConfigError
from lst_jax.recipes.validate import validate
from lst_jax.runs.directory import RunDirectory
from lst_jax.train import loop, session

CLOCK = ("seconds_per_step", "tokens_per_second", "patches_per_second", "mfu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    tokenizer_of(folder)
    return folder


def wsd(data, steps, decay_steps, branch_from=None):
    """A run of so many steps, saved after each, warmed up after one."""
    config = short(data)
    train = dataclasses.replace(config.train, steps=steps, branch_from=branch_from and str(branch_from))
    optim = dataclasses.replace(config.optim, warmup_steps=1, schedule="wsd", wsd=cfg.WsdConfig(decay_steps, "1-sqrt"))
    config = dataclasses.replace(config, train=train, optim=optim)
    validate(config)
    return config


@pytest.fixture(scope="module")
def trunk(data, tmp_path_factory):
    run = RunDirectory(tmp_path_factory.mktemp("runs") / "trunk")
    assert loop.train(run, wsd(data, 4, 0)) == 0
    return run


def learned(run):
    return [{k: v for k, v in r.items() if k not in CLOCK} for r in run.read_metrics()]


@pytest.mark.parametrize("begins, steps", [(2, 4), pytest.param(4, 6, marks=pytest.mark.slow)])
def test_a_branch_is_an_unbroken_run_of_its_length_bit_for_bit(trunk, data, tmp_path, begins, steps):
    branch, unbroken = RunDirectory(tmp_path / "branch"), RunDirectory(tmp_path / "unbroken")
    assert loop.train(branch, wsd(data, steps, 2, trunk.checkpoint_path(begins))) == 0
    assert loop.train(unbroken, wsd(data, steps, 2)) == 0
    jax.tree.map(np.testing.assert_array_equal, parameters(branch, steps), parameters(unbroken, steps))
    assert learned(branch) == [r for r in learned(unbroken) if r["step"] > begins]
    trained = [r for r in learned(branch) if r["kind"] == "train"]
    assert [r["step"] for r in trained] == list(range(begins + 1, steps + 1))
    rates = [r["learning_rate"] for r in learned(unbroken) if r["kind"] == "train"]
    assert rates[begins - 1] > rates[begins] > rates[begins + 1]
    assert trunk.checkpoint_path(1).exists()  # reading removes none
    (start,) = json_files.read_lines(branch.starts_path)
    assert start["step"] == begins and start["init_from"] == str(trunk.checkpoint_path(begins))


def refused(data, tmp_path, config):
    with pytest.raises(CheckpointError) as error, contextlib.ExitStack() as held:
        session.open_session(RunDirectory(tmp_path / "branch"), config, held)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_an_unbroken_run_would_not_have_come_to_is_refused(trunk, data, tmp_path):
    there = trunk.checkpoint_path(2)
    assert "is no checkpoint of a run; give RUN/checkpoints/STEP" in refused(
        data, tmp_path, wsd(data, 4, 2, trunk.path)
    )
    other = dataclasses.replace(wsd(data, 4, 2, there), seed=5)
    assert refused(data, tmp_path, other).startswith(
        f"seed=5: {there} (train.branch_from) was trained with 0; a branch"
    )
    said = refused(data, tmp_path, wsd(data, 4, 3, there))
    assert "the learning rate of this run is at its peak from step 1 to 1; branch there" in said
    decayed = RunDirectory(tmp_path / "decayed")
    assert loop.train(decayed, wsd(data, 4, 3)) == 0
    said = refused(data, tmp_path, wsd(data, 4, 1, decayed.checkpoint_path(2)))
    assert "the learning rate of the trunk is at its peak from step 1 to 1; branch there" in said


def test_a_branch_belongs_to_the_identity_and_its_trunk_s_place_does_not(data):
    hashes = [cfg.config_hash(wsd(data, 4, 2, path)) for path in (None, "a/checkpoints/00000002", "b/checkpoints/2")]
    assert hashes[0] != hashes[1] == hashes[2]
    both = wsd(data, 4, 2, "a/checkpoints/00000002")
    both = dataclasses.replace(both, train=dataclasses.replace(both.train, init_from="b"))
    with pytest.raises(ConfigError, match="train.branch_from=.* takes over a whole state"):
        validate(both)
