"""How far it is from the command to the model, as README tells it."""

import dataclasses
import inspect
import json
import pathlib
import re

import pytest
from training_run import make_config, make_data, tokenizer_of

import lst_jax
from lst_jax.cli.main import main
from lst_jax.config import to_mapping
from lst_jax.train import session

PACKAGE = pathlib.Path(lst_jax.__file__).parent
README = PACKAGE.parent / "README.md"
LINE = "The path from the command to the model:"
MOST_FRAMES = 8


class Reached(Exception):
    """The forward pass has been called: there is nothing more to see."""


def named_path():
    """The places that README's line names, in its order. Example: "cli.main.main"."""
    (line,) = [line for line in README.read_text().splitlines() if line.startswith(LINE)]
    return re.findall(r"`([\w.]+)`", line)


def walked_path():
    """The frames of this stack that lie in the package, outermost first."""
    found = []
    for frame in reversed(inspect.stack()):
        path = pathlib.Path(frame.filename)
        if path.is_relative_to(PACKAGE):
            module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            found.append(f"{module}.{frame.function}")
    return found


@pytest.fixture
def recipe(tmp_path):
    make_data(tmp_path)
    tokenizer_of(tmp_path)
    config = make_config(tmp_path)
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, sources=(), completion_items=0))
    (tmp_path / "recipe.json").write_text(json.dumps(to_mapping(config)))
    (tmp_path / "recipe.py").write_text(
        "import json, pathlib\nfrom ml_collections import ConfigDict\n\ndef get_config(arg):\n"
        "    return ConfigDict(json.loads(pathlib.Path(__file__).with_suffix('.json').read_text()))\n"
    )
    return str(tmp_path / "recipe.py")


def test_readme_names_every_frame_from_the_command_to_the_model_s_forward_pass(recipe, tmp_path, monkeypatch):
    walked = []
    model_class = type(session.update.build_model(*built(recipe)))
    hidden = model_class.hidden

    def spy(self, *args):
        walked.extend([*walked_path(), f"{hidden.__module__.removeprefix('lst_jax.')}.hidden"])
        raise Reached

    monkeypatch.setattr(model_class, "hidden", spy)
    with pytest.raises(Reached):
        main(["train", str(tmp_path / "run"), "--config", recipe])
    assert walked == named_path()
    assert len(walked) <= MOST_FRAMES


def built(recipe):
    from lst_jax.parallel.sharding import one_device
    from lst_jax.recipes.load import load_recipe

    return load_recipe(recipe), one_device()
