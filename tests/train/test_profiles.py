"""Chosen steps are profiled, and steps that a signal chooses; what goes wrong costs one line."""

import os
import signal

import jax
import jax.numpy as jnp
import pytest

from lst_jax.config import TrainConfig
from lst_jax.core.errors import ConfigError
from lst_jax.train.profiles import Profiles, harmless_signal


def steps(folder, count, asked=None, start=0, signal_at=None):
    """Runs a loop of tiny steps, as the training loop does it. Returns the names of the profiles."""
    step = jax.jit(lambda x: x * 2)
    with Profiles(folder, TrainConfig(steps=9, profile_steps=asked), start) as profiles:
        for done in range(start + 1, count + 1):
            with profiles.around(done):
                result = step(jnp.ones(3))
            profiles.reached(done, result)
            if done == signal_at:
                os.kill(os.getpid(), signal.SIGUSR2)
            if profiles.take_request():
                profiles.ask(done)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_chosen_steps_are_profiled_as_tensorboard_reads_them(tmp_path, capfd):
    assert steps(tmp_path / "p", 6, "2:4") == ["00000002-00000004"]
    assert len(list(tmp_path.glob("p/00000002-00000004/plugins/profile/steps/*.xplane.pb"))) == 1
    assert f"tensorboard --logdir {tmp_path / 'p' / '00000002-00000004'}" in capfd.readouterr().err


def test_a_signal_profiles_the_next_three_steps(tmp_path):
    assert steps(tmp_path / "p", 8, signal_at=2) == ["00000003-00000005"]
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_processes_of_one_host_do_not_overwrite_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    for index in (0, 3):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        steps(tmp_path / "p", 3, "2:2")
    found = [path.name for path in tmp_path.glob("p/00000002-00000002/plugins/profile/steps/*.xplane.pb")]
    assert sorted(name.partition("-")[0] for name in found) == ["process0000", "process0003"]


def test_the_signal_ends_nothing_where_nothing_is_profiled_yet():
    with harmless_signal():
        os.kill(os.getpid(), signal.SIGUSR2)
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_a_start_in_the_middle_profiles_what_is_left_and_one_that_ends_keeps_what_it_has(tmp_path):
    assert steps(tmp_path / "a", 6, "2:4", start=3) == ["00000004-00000004"]
    assert steps(tmp_path / "b", 3, "2:9") == ["00000002-00000003"]
    assert steps(tmp_path / "c", 8, "2:4", start=5) == []


def test_a_profile_that_cannot_be_made_or_written_costs_one_line(tmp_path, capfd):
    jax.profiler.start_trace(tmp_path / "other")  # as another library may have done
    try:
        assert steps(tmp_path / "p", 6, "2:4") == []
    finally:
        jax.profiler.stop_trace()
    assert "no profile of step 2 on" in capfd.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):  # the test's own look: the loop itself went on
        steps(tmp_path / "file", 6, "2:4")
    assert "the profile is lost" in capfd.readouterr().err


@pytest.mark.parametrize("text", ["", "4:2", "0:3", "one", "1:2:3"])
def test_other_words_are_refused(text):
    import dataclasses

    from lst_jax.recipes.load import load_recipe
    from lst_jax.recipes.validate import validate

    config = load_recipe("configs/demo.py")
    with pytest.raises(ConfigError, match="train.profile_steps=.*must be the first and the last step"):
        validate(dataclasses.replace(config, train=dataclasses.replace(config.train, profile_steps=text)))
