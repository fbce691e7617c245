"""How to add a launch target: one `Target`, registered from outside of the package, renders jobs."""

import pytest

from lst_jax.cli.main import main
from lst_jax.core.errors import ConfigError
from lst_jax.jobs.launch import targets
from lst_jax.jobs.launch.job import Job, shell_line
from lst_jax.jobs.launch.target import Target


def render(job: Job) -> dict[str, str]:
    return {f"{job.name}.toy": f"toy-start {job.cluster.processes} {shell_line(job)}\n"}


TOY = Target("toy", "a line for a toy scheduler", render)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(targets, "_TARGETS", dict(targets._TARGETS))
    targets.register(TOY)


def test_a_new_target_renders_a_job(toy, capsys):
    words = ["launch", "r", "--config", "configs/lst.py:1b", "--cluster", "launch/v5p_gke.toml", "--to", "toy"]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("toy-start 32 cd /app && exec lst train gs://my-bucket/runs/r --config")


def test_a_new_target_is_in_the_help(toy, capsys):
    with pytest.raises(SystemExit):
        main(["launch", "--help"])
    assert "toy: a line for a toy scheduler" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "target, message",
    [
        (Target("xpk", "d", render), "is registered already"),
        (Target("new", "", render), "must have a name, a descript"),
    ],
)
def test_what_is_incomplete_or_taken_fails_when_it_is_registered(target, message):
    with pytest.raises(ConfigError, match=message):
        targets.register(target)


def test_a_name_that_is_not_there_is_one_line_with_the_nearest():
    with pytest.raises(ConfigError, match="--to='job': must be one of jobset, .*; nearest: jobset"):
        targets.target("job")
