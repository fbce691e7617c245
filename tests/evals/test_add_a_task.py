"""How to add an evaluation task and a recogniser from outside the package: a toy one of each kind, registered and run."""

import json
import pathlib

import numpy as np
import pytest
import saved_run
import training_run

from lst_jax.cli import main
from lst_jax.core.errors import ConfigError
from lst_jax.data.tasks import registry
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.data.tasks.kind import FileTask, HeldOutTask
from lst_jax.evals.recognisers import registry as recognisers


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))
    monkeypatch.setattr(recognisers, "_LOADERS", dict(recognisers._LOADERS))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved_run.make(tmp_path_factory.mktemp("run"), training_run.make_base_config)


def read_rhymes(path: pathlib.Path) -> Task:
    """A line of `right / wrong` is an item."""
    pairs = [line.split(" / ") for line in path.read_text().splitlines()]
    items = [Item(str(n), None, (Part(right), Part(wrong)), 0) for n, (right, wrong) in enumerate(pairs)]
    return Task(tuple(items), "rhymes")


def test_a_task_in_a_file_and_one_of_held_out_utterances_are_added_and_run(run, tmp_path, capsys):
    registry.register(FileTask("rhymes", read_rhymes))
    registry.register(
        HeldOutTask(
            "shuffled",
            lambda utterances, limit: [
                Item(
                    u.id,
                    None,
                    (Part(" ".join(w.text for w in u.words)), Part(" ".join(w.text for w in u.words[::-1]))),
                    0,
                )
                for u in utterances[:limit]
            ],
            note="words in their order or turned round",
            needs="words",
        )
    )
    path = tmp_path / "rhymes.txt"
    path.write_text("the river / river the\nof little / little of\n")
    assert main.main(["evaluate", str(run.path), "--tasks", f"rhymes={path},shuffled", "--json"]) == 0
    rhymes, shuffled = json.loads(capsys.readouterr().out)
    assert rhymes["results"][0]["note"] == "rhymes" and rhymes["results"][0]["items"] == 2
    assert shuffled["path"] is None and [one["direction"] for one in shuffled["results"]] == ["t2t"]


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"name": "my task"}, "its name must be of letters, digits"),
        ({"read": None}, "has no function that gives its items"),
        ({"name": "hellaswag"}, "the name is taken"),
    ],
)
def test_what_is_not_complete_fails_when_it_is_registered(fields, said):
    task = FileTask("rhymes", read_rhymes)
    for name, value in fields.items():
        object.__setattr__(task, name, value)  # past the type checks that only tests have
    with pytest.raises(ConfigError, match=said):
        registry.register(task)


def test_a_recogniser_is_added():
    class Ear:
        name = "ear-1"

        def __init__(self, directory):
            self.directory = directory

        def transcribe(self, audio: np.ndarray) -> str:
            return "yes"

    recognisers.register("ear", Ear, "DIR")
    assert recognisers.load_recogniser("ear:there").directory == "there"
    with pytest.raises(ConfigError, match="recogniser ear: the name is taken"):
        recognisers.register("ear", Ear)
