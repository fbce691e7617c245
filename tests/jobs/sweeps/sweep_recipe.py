"""A recipe of a tiny run with sweeps beside it."""

import json
import pathlib

import training_run

from lst_jax.config import to_mapping

RECIPE = """import json, pathlib
from ml_collections import ConfigDict
from lst_jax.jobs.sweeps.grid import each, product

def get_config(arg):
    config = ConfigDict(json.loads(pathlib.Path(__file__).with_suffix(".json").read_text()))
    config.name = "tiny-" + (arg or "plain")
    if arg == "wide":
        config.model.global_transformer.width *= 2
    return config

def sweep(add, name):
    for overlay in SWEEPS[name]:
        add(overlay)

TRUNK = {"seed": 1, "optim.schedule": "wsd", "train.checkpoint_every": 2, "train.checkpoint_keep_every": 2,
         "train.steps": 4}
SWEEPS = dict(
    seeds=product(each("recipe", "plain"), each("seed", 1, 2)),
    turned=product(each("seed", 2, 1), each("recipe", "plain")),
    wide=product(each("recipe", "plain", "wide"), each("seed", 1, 2)),
    twice=each("seed", 1, 1),
    early=each("train.steps", 4, 5, 6),
    free=each("train.log_every", 1, 2),
    typo=each("optim.peek_lr", 1e-3),
    kind=each("seed", "one"),
    none=[],
    shares=[{"data.sources.0.share": 3.0, "label": "more speech"}],
    family=[
        {"branch": TRUNK, "train.steps": 4, "optim.wsd.decay_steps": 2},
        {"branch": TRUNK, "train.steps": 6, "optim.wsd.decay_steps": 2},
    ],
    unkept=[{"branch": TRUNK, "train.steps": 5, "optim.wsd.decay_steps": 2}],
    beyond=[{"branch": TRUNK, "train.steps": 9, "optim.wsd.decay_steps": 1}],
    cosine=[{"branch": {"seed": 1}, "train.steps": 4}],
    budgets=each("budget", "tokens=1e4", "tokens=2e4"),
)
"""


def recipe_in(folder: pathlib.Path, make_config=training_run.make_config) -> str:
    """Writes records and the recipe; returns its path. `make_config` makes the run's configuration."""
    training_run.make_data(folder)
    training_run.tokenizer_of(folder)
    (folder / "recipe.json").write_text(json.dumps(to_mapping(make_config(folder, steps=6))))
    (folder / "recipe.py").write_text(RECIPE)
    return str(folder / "recipe.py")
