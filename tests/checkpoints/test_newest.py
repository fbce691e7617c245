"""Reading beside a training that keeps one checkpoint: the newest is taken again, and none is called damaged."""

import pathlib
import shutil

import pytest
import saved_run
import training_run

from lst_jax.checkpoints import newest, trained_model
from lst_jax.checkpoints.steps import whole_steps
from lst_jax.checkpoints.store import Checkpoints, read_errors
from lst_jax.checkpoints.stream import StepFolder
from lst_jax.cli import main
from lst_jax.convert import orbax
from lst_jax.core.errors import CheckpointError, CheckpointGoneError


@pytest.fixture
def run(tmp_path):
    return saved_run.make(tmp_path, training_run.make_base_config)


def move_on(directory: pathlib.Path) -> int:
    """What a training does that keeps one step: a later step appears, then the one before is removed."""
    (step,) = whole_steps(directory)
    shutil.copytree(directory / f"{step:08d}", directory / f"{step + 1:08d}")
    shutil.rmtree(directory / f"{step:08d}")
    return step + 1


def after_moving_on(monkeypatch, owner, name, directory, times):
    """Lets the training move on before each of the first `times` calls of `owner.name`."""
    call, left = getattr(owner, name), [times]

    def wrapped(*args, **kwargs):
        if left[0]:
            left[0] -= 1
            move_on(directory)
        return call(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapped)


def test_restoring_takes_the_newest_again(run, monkeypatch, capsys):
    after_moving_on(monkeypatch, Checkpoints, "restore_params", run.checkpoints_path, 2)
    assert trained_model.load_trained_model(run, one_device=True).step == 2
    said = capsys.readouterr().err
    assert said.count("was removed while it was being read") == 2 and "mv " not in said
    after_moving_on(monkeypatch, Checkpoints, "restore_params", run.checkpoints_path, newest.ATTEMPTS)
    with pytest.raises(CheckpointError, match="was removed 5 times while it was being read; keep more") as error:
        trained_model.load_trained_model(run, one_device=True)
    assert not isinstance(error.value, CheckpointGoneError)


def test_a_step_can_be_asked_for(run, capsys):
    (step,) = whole_steps(run.checkpoints_path)
    shutil.copytree(run.checkpoint_path(step), run.checkpoint_path(step + 4))
    assert trained_model.load_trained_model(run, one_device=True).step == step + 4
    assert trained_model.load_trained_model(run, one_device=True, step=step).step == step
    assert main.main(["evaluate", str(run.path), "--step", "7"]) == 4
    said = f"lst evaluate: --step 7: {run.checkpoints_path} holds {step}, {step + 4}; give one of these\n"
    assert capsys.readouterr().err == said
    assert main.main(["generate", str(run.path), "--step", "7"]) == 4
    assert said.partition(":")[2] in capsys.readouterr().err


def test_a_conversion_begins_again_with_the_newest(run, monkeypatch):
    monkeypatch.setattr(orbax, "_check_identity", lambda config, folder: None)  # the run has none
    after_moving_on(monkeypatch, StepFolder, "read", run.checkpoints_path, 1)

    def read():
        source = orbax.open_source(run.path)
        return source.origin["step"], len([one.read() for one in source.arrays.values()])

    step, arrays = newest.read_newest(read, run.path)
    assert step == 1 and arrays


def test_the_removal_of_a_step_may_take_a_while(tmp_path):
    for name in ("00000001", "00000002"):
        (tmp_path / name).mkdir()

    def remove(*_):
        (tmp_path / "00000001").rmdir()

    with pytest.raises(CheckpointGoneError, match="a later checkpoint took its place"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lst_jax.checkpoints.store.time.sleep", remove)
            with read_errors(tmp_path / "00000001", []):
                raise FileNotFoundError("params/manifest.ocdbt")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(24, "Too many open files")])
def test_a_machine_that_refuses_does_not_make_a_checkpoint_damaged(error, tmp_path):
    (tmp_path / "00000001").mkdir()
    with pytest.raises(
        CheckpointError, match="cannot be read now .*nothing says that the checkpoint is damaged"
    ) as raised:
        with read_errors(tmp_path / "00000001", []):
            raise error
    assert "mv " not in str(raised.value)
