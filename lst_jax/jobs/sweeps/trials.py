"""The runs of a sweep: a recipe's `sweep(add, name)` as configurations with names, and sweep.json, which keeps them.

A run's name ends in its configuration's hash, so that it depends on nothing but what is trained: putting a grid in
another order renames nothing, and two overlays that train the same are found. A run's changes of its recipe are written
out, field by field, so that whoever starts it derives nothing: `lst train RUN --config RECIPE --set FIELD=VALUE ...`.
"""

import dataclasses
import json
import os
import pathlib

from tqdm import tqdm

from lst_jax.config import Config, config_hash
from lst_jax.core import files, json_files
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.cost import budget
from lst_jax.data.patching import strategy_of
from lst_jax.jobs.sweeps.grid import BUDGET, LABEL, RECIPE, Overlay
from lst_jax.model.architectures.registry import architecture_named
from lst_jax.recipes.load import as_changes, load_recipe, load_recipe_module, mistakes_of_recipe

FORMAT_VERSION = 1
FILE = "sweep.json"
HASH_DIGITS = 8


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep, before it is one."""

    name: str
    label: str  # what it is called in fits and pictures: runs of one label make a family
    recipe: str  # as `lst train --config` takes it
    changes: tuple[str, ...]  # as `lst train --set` takes them
    budget: str | None  # where the steps are from
    config_hash: str
    parameters: int
    steps: int
    tokens: float  # of the whole run, as `budget.cost` expects them
    flops: float
    content: str  # what records these two are of

    def config(self) -> Config:
        """The configuration. Raises: ConfigError where the recipe has changed since the sweep was made."""
        config = load_recipe(self.recipe, self.changes)
        if config_hash(config) != self.config_hash:
            raise ConfigError(
                f"{self.recipe}: no longer gives the configuration of {self.name}; go on with the code "
                "that the sweep was made with, or make the sweep anew with --config"
            )
        return config


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep as sweep.json holds it."""

    reference: str  # FILE.py:NAME
    commit: str | None  # of the code that made it
    trials: tuple[Trial, ...]


def make_sweep(reference: str) -> Sweep:
    """Resolves `FILE.py:NAME`: every overlay that `sweep(add, NAME)` adds.

    Raises: ConfigError naming the overlay that cannot be built, or two that train the same.
    """
    path, _, name = reference.partition(":")
    module = load_recipe_module(path)
    if not hasattr(module, "sweep"):
        raise ConfigError(f"{path}: has no sweep(add, name); define one beside get_config, or give another recipe")
    overlays: list[Overlay] = []
    with mistakes_of_recipe(path):
        module.sweep(overlays.append, name)
    if not overlays:
        raise ConfigError(f"{reference}: adds no runs; call add(overlay) for each")
    trials: dict[str, Trial] = {}
    for number, overlay in enumerate(tqdm(overlays, desc="sweep", unit="run", leave=False)):
        trial = _trial(path, overlay, f"{reference}: run {number + 1} {_short(overlay)}")
        if trial.name in trials:
            raise ConfigError(
                f"{reference}: {_short(overlay)} trains the same as an overlay before it ({trial.name}); leave one out"
            )
        trials[trial.name] = trial
    return Sweep(reference, code_commit(), tuple(trials.values()))


def _trial(path: str, overlay: Overlay, where: str) -> Trial:
    fields = {key: value for key, value in overlay.items() if key not in (RECIPE, BUDGET, LABEL)}
    recipe = f"{path}:{overlay[RECIPE]}" if overlay.get(RECIPE) else path
    try:
        config = budget.load(
            recipe, [f"{key}={json.dumps(value)}" for key, value in fields.items()], overlay.get(BUDGET)
        )
        changes = as_changes(config, load_recipe(recipe))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    cost = budget.cost(config)
    digest = config_hash(config)
    return Trial(
        name=f"{config.name}-{digest[:HASH_DIGITS]}",
        label=overlay.get(LABEL) or label_of(config),
        recipe=recipe,
        changes=changes,
        budget=overlay.get(BUDGET),
        config_hash=digest,
        parameters=cost.parameters,
        steps=config.train.steps,
        tokens=cost.tokens,
        flops=cost.flops,
        content=cost.content,
    )


def label_of(config: Config) -> str:
    """What kind of system a configuration is. Example: "base", "bpe", "curriculum", "static-4", "bypass-static-4"."""
    architecture = architecture_named(config.model.architecture)
    label = strategy_of(config.data.patching).label
    return architecture.sweep_label(label, has_unit_pieces=config.data.unit_tokenizer is not None)


def _short(overlay: Overlay) -> str:
    return "{" + ", ".join(f"{key}: {value!r}" for key, value in overlay.items()) + "}"


def write_sweep(folder: pathlib.Path, sweep: Sweep) -> None:
    """Writes sweep.json."""
    files.write_json(folder / FILE, {"format_version": FORMAT_VERSION, **dataclasses.asdict(sweep)})


def read_sweep(folder: pathlib.Path) -> Sweep:
    """The sweep of a folder. Raises: ConfigError where there is none, DataError where its file is damaged."""
    path = folder / FILE
    try:
        if not os.path.exists(path):
            raise ConfigError(f"{path}: no such sweep; make it: lst sweep run {folder} --config FILE.py:NAME")
        found = json_files.read(path, "make it anew with --config")
        if found["format_version"] != FORMAT_VERSION:
            raise DataError(
                f"{path}: format_version={found['format_version']}, this code reads {FORMAT_VERSION}; use "
                "the code that wrote it"
            )
        return Sweep(
            found["reference"],
            found["commit"],
            tuple(Trial(**trial | {"changes": tuple(trial["changes"])}) for trial in found["trials"]),
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: is damaged ({error}); make it anew with --config") from error


def open_sweep(folder: pathlib.Path, reference: str | None) -> Sweep:
    """The sweep of `reference`, kept in the folder, or the one that is there where it is None."""
    if reference is None:
        return read_sweep(folder)
    sweep = make_sweep(reference)
    write_sweep(folder, sweep)
    return sweep
