"""Recipes and descriptions of clusters that lie in a bucket."""

import pathlib

import pytest

from lst_jax.cli import main
from lst_jax.config import config_hash
from lst_jax.recipes.load import load_recipe, split
from lst_jax.storage import objects
from lst_jax.storage.at_hand import remove_copies
from lst_jax.storage.place import to_place

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def there(bucket, tmp_path):
    """The recipes and the clusters of the project, in a bucket."""
    place = to_place(f"{bucket}/{tmp_path.name}")
    for name in ("configs/lst.py", "configs/asr.py", "configs/demo.py", "launch/v5p_gke.toml"):
        objects.upload(ROOT / name, place / name)
    yield place
    remove_copies()


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("gs://b/lst.py:1b,base", ("gs://b/lst.py", "1b,base")),
        ("gs://b/lst.py", ("gs://b/lst.py", "")),
        ("configs/lst.py:1b", ("configs/lst.py", "1b")),
        ("demo.py", ("demo.py", "")),
    ],
)
def test_an_argument_is_told_from_an_address(reference, parts):
    assert split(reference) == parts


def test_a_recipe_and_one_beside_it_are_read_there(there):
    ours, theirs = (load_recipe(f"{root}/configs/asr.py:1b") for root in (ROOT, there))
    assert config_hash(ours) == config_hash(theirs)


def test_a_mistake_is_named_by_its_address(there, tmp_path, capsys):
    objects.write_text(there / "bad.py", "def get_config(arg):\n    return nothing\n")
    words = ["launch", "run", "--cluster", str(there / "launch" / "v5p_gke.toml"), "--to", "jobset", "--config"]
    for name, said in (
        ("bad.py", "line 2: NameError"),
        ("no.py", "no such recipe"),
        ("launch/v5p_gke.toml", "a recipe is"),
    ):
        assert main.main([*words, str(there / name)]) == 2
        assert f"lst launch: {there}/{name}: {said}" in capsys.readouterr().err
    words[words.index("--cluster") + 1] = str(there / "no.toml")
    assert main.main([*words, str(there / "configs" / "lst.py")]) == 2
    assert f"{there}/no.toml: no such cluster description" in capsys.readouterr().err


def test_jobs_are_written_there_and_name_the_recipe_there(there, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["launch", "run", "--config", f"{there}/configs/lst.py:1b", "--to", "jobset"]
    cluster = "launch/v5p_gke.toml"
    assert main.main([*words, "--cluster", str(ROOT / cluster), "--out", "local"]) == 0
    assert main.main([*words, "--cluster", str(there / cluster), "--out", str(there / "jobs")]) == 0
    names = objects.names(there / "jobs")
    assert names == objects.names(tmp_path / "local") and [path.name for path in tmp_path.iterdir()] == ["local"]
    for name in names:
        assert objects.read_bytes(there / "jobs" / name) == (tmp_path / "local" / name).read_bytes()
    assert any(f"{there}/configs/lst.py:1b" in objects.read_text(there / "jobs" / name) for name in names)
