"""The runs of a sweep: a recipe's `sweep(add, name)` as configurations with names, and sweep.json, which keeps them.

A run's name ends in its configuration's hash, so that it depends on nothing but what is trained. Another order of the
grid renames nothing, and two overlays that train the same are found.

A run's changes of its recipe are written out field by field. Whoever starts the run derives nothing:
`lst train RUN --config RECIPE --set FIELD=VALUE ...`. Only the place of a branch's trunk is added then.
"""

import dataclasses
import json
import pathlib

from tqdm import tqdm

from lst_jax.config import Config, config_hash
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import ConfigError, DataError, first_line
from lst_jax.core.strict import build
from lst_jax.cost import budget
from lst_jax.data.patching import strategy_of
from lst_jax.jobs.sweeps.grid import BRANCH, BUDGET, LABEL, RECIPE, Overlay
from lst_jax.model.architectures.registry import architecture_named
from lst_jax.recipes.load import as_changes, load_recipe, load_recipe_module, mistakes_of_recipe, split
from lst_jax.recipes.validate import validate
from lst_jax.step.schedules.registry import schedule_of
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FORMAT_VERSION = 1
FILE = "sweep.json"
HASH_DIGITS = 8


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep, before it is one."""

    name: str
    label: str  # its name in fits and pictures: runs of one label make a family
    recipe: str  # as `lst train --config` takes it
    changes: tuple[str, ...]  # as `lst train --set` takes them
    budget: str | None  # where the steps are from
    config_hash: str
    parameters: int
    steps: int
    tokens: float  # of the whole run, a branch's trunk included, as `budget.cost` expects them
    flops: float  # likewise
    content: str  # what records these two are of
    trunk: str | None = None  # the name of the run that this one branches off
    branch_step: int = 0  # the step of the trunk's checkpoint; 0 for a run of its own

    @property
    def own_share(self) -> float:
        """The part of the steps that this run trains itself."""
        return 1 - self.branch_step / self.steps

    def trunk_checkpoint(self, runs: Place) -> Place:
        """The checkpoint that a branch begins from, where the sweep's runs are in `runs`."""
        return runs / str(self.trunk) / "checkpoints" / f"{self.branch_step:08d}"

    def changes_in(self, runs: Place) -> tuple[str, ...]:
        """All changes as `lst train --set` takes them, where the sweep's runs are in `runs`."""
        if self.trunk is None:
            return self.changes
        return (*self.changes, f"train.branch_from={self.trunk_checkpoint(runs)}")

    def config(self) -> Config:
        """The configuration. Raises: ConfigError where the recipe has changed since the sweep was made."""
        config = load_recipe(self.recipe, self.changes_in(pathlib.Path("runs")))
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
    path, name = split(reference)
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
        where = f"{reference}: run {number + 1} {_short(overlay)}"
        if BRANCH in overlay:
            trunk = _trial(path, overlay[BRANCH], where)
            trials.setdefault(trunk.name, trunk)  # before its branches
            trial = _branch(path, overlay, trunk, where)
        else:
            trial = _trial(path, overlay, where)
        if trial.name in trials:
            raise ConfigError(
                f"{reference}: {_short(overlay)} trains the same as an overlay before it ({trial.name}); leave one out"
            )
        trials[trial.name] = trial
    return Sweep(reference, code_commit(), tuple(trials.values()))


def _trial(path: str, overlay: Overlay, where: str) -> Trial:
    recipe = f"{path}:{overlay[RECIPE]}" if overlay.get(RECIPE) else path
    try:
        config = budget.load(recipe, _fields(overlay), overlay.get(BUDGET))
        changes = as_changes(config, load_recipe(recipe))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return _made(config, recipe, changes, overlay)


def _branch(path: str, overlay: Overlay, trunk: Trial, where: str) -> Trial:
    """The trial that goes on from the trunk's checkpoint at the step before its learning rate decays."""
    try:
        if RECIPE in overlay:
            raise ConfigError(f"recipe={overlay[RECIPE]!r}: a branch has the trunk's; leave it out")
        before = trunk.config()
        config = load_recipe(trunk.recipe, [*trunk.changes, *_fields(overlay)])
        if overlay.get(BUDGET):  # it decides the steps alone: patches must stay as the trunk has drawn them
            steps = budget.steps_of(before, overlay[BUDGET])
            config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps))
            validate(config)
        step = _branch_step(before, config)
        changes = as_changes(config, load_recipe(trunk.recipe))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    made = _made(config, trunk.recipe, changes, overlay[BRANCH] | overlay)
    made = dataclasses.replace(made, trunk=trunk.name, branch_step=step)
    config = load_recipe(made.recipe, made.changes_in(pathlib.Path("runs")))
    return dataclasses.replace(made, name=_name(config), config_hash=config_hash(config))


def _branch_step(trunk: Config, branch: Config) -> int:
    """The last step before the branch's decay. Raises: ConfigError where the trunk will hold no checkpoint of it."""
    stable = schedule_of(branch.optim).stable(branch.optim, branch.train.steps)
    if not stable:
        raise ConfigError(
            f'optim.schedule={branch.optim.schedule!r}: has no stable part to branch off; use "wsd" in the trunk'
        )
    step, kept = stable[-1], trunk.train.checkpoint_keep_every
    if step not in schedule_of(trunk.optim).stable(trunk.optim, trunk.train.steps):
        raise ConfigError(
            f"train.steps={branch.train.steps}: its decay begins at step {step}, where the trunk's learning rate is not "
            f"at its peak; give the trunk more than train.steps={trunk.train.steps}, or this run fewer"
        )
    if step != trunk.train.steps and (kept is None or step % kept):
        raise ConfigError(
            f"train.steps={branch.train.steps}: its decay begins at step {step}, of which the trunk keeps no checkpoint; "
            "set the trunk's train.checkpoint_every and train.checkpoint_keep_every to a divisor of it"
        )
    return step


def _fields(overlay: Overlay) -> list[str]:
    """The overlay's changes of fields, as `lst train --set` takes them."""
    others = (RECIPE, BUDGET, LABEL, BRANCH)
    return [f"{key}={json.dumps(value)}" for key, value in overlay.items() if key not in others]


def _name(config: Config) -> str:
    return f"{config.name}-{config_hash(config)[:HASH_DIGITS]}"


def _made(config: Config, recipe: str, changes: tuple[str, ...], overlay: Overlay) -> Trial:
    cost = budget.cost(config)
    return Trial(
        name=_name(config),
        label=overlay.get(LABEL) or label_of(config),
        recipe=recipe,
        changes=changes,
        budget=overlay.get(BUDGET),
        config_hash=config_hash(config),
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


def write_sweep(folder: Place, sweep: Sweep) -> None:
    """Writes sweep.json."""
    objects.write_json(folder / FILE, {"format_version": FORMAT_VERSION, **dataclasses.asdict(sweep)})


def read_sweep(folder: Place) -> Sweep:
    """The sweep of a folder. Raises: ConfigError where there is none, DataError where its file is damaged."""
    path = folder / FILE
    if not objects.exists(path):
        raise ConfigError(f"{path}: no such sweep; make it: lst sweep run {folder} --config FILE.py:NAME")
    found = objects.read_json(path, "make it anew with --config")
    try:
        if found["format_version"] != FORMAT_VERSION:
            raise DataError(
                f"{path}: format_version={found['format_version']}, this code reads {FORMAT_VERSION}; use "
                "the code that wrote it"
            )
        sweep = build(Sweep, {key: value for key, value in found.items() if key != "format_version"}, "")
        if not all(trial.steps > 0 and trial.name for trial in sweep.trials):
            raise ConfigError("a run has no name, or no steps")
        return sweep
    except (KeyError, ConfigError) as error:
        raise DataError(f"{path}: is damaged ({first_line(error)}); make it anew with --config") from error


def open_sweep(folder: Place, reference: str | None) -> Sweep:
    """The sweep of `reference`, kept in the folder, or the one that is there where it is None."""
    if reference is None:
        return read_sweep(folder)
    sweep = make_sweep(reference)
    write_sweep(folder, sweep)
    return sweep
