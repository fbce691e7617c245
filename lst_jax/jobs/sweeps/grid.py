"""Overlays: what each run of a sweep changes in a recipe, and how lists of overlays are combined.

An overlay maps fields of the recipe ("optim.peak_lr", "data.sources.0.share", "seed") to values. Four more keys are
allowed:

    recipe   the argument of the recipe's `get_config`
    budget   how long to train (`lst_jax.cost.budget`)
    label    the run's name in fits and pictures, where its system's name does not say enough
    branch   the overlay of another run, the trunk: this run goes on from the trunk's last checkpoint before its own
             learning rate decays (`train.branch_from`). Its other keys are changes of the trunk's overlay. The trunk is
             part of the sweep, once for all of its branches.

Values are checked against the configuration's types, and unknown fields are refused, when the recipe is built
(`sweeps.trials`).

    def sweep(add, name):                                     # beside get_config
        for overlay in product(each("recipe", "420m", "1b"), each("seed", 0, 1, 2)):
            add(overlay)
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from lst_jax.core.errors import ConfigError

Overlay = Mapping[str, Any]
RECIPE, BUDGET, LABEL, BRANCH = "recipe", "budget", "label", "branch"


def each(field: str, *values: Any) -> list[Overlay]:
    """One overlay per value. Example: each("seed", 0, 1) -> [{"seed": 0}, {"seed": 1}]."""
    return [{field: value} for value in values]


def product(*lists: Iterable[Overlay]) -> list[Overlay]:
    """Every combination of one overlay of each list; the last list changes fastest.

    Raises: ConfigError where two of a combination set the same field.
    Example: product(each("a", 1, 2), each("b", 3)) -> [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    """
    return [_merged(combination) for combination in itertools.product(*map(list, lists))]


def zipped(*lists: Iterable[Overlay]) -> list[Overlay]:
    """The first of all lists together, the second of all, and so on.

    Raises: ConfigError where their lengths differ, or two set the same field.
    Example: zipped(each("a", 1, 2), each("b", 3, 4)) -> [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    """
    columns = [list(overlays) for overlays in lists]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ConfigError(f"sweep: zipped lists have {', '.join(map(str, lengths))} overlays; give each as many")
    return [_merged(row) for row in zip(*columns, strict=True)]


def chain(*lists: Iterable[Overlay]) -> list[Overlay]:
    """All overlays of all lists, one after the other."""
    return list(itertools.chain(*lists))


def _merged(overlays: Iterable[Overlay]) -> Overlay:
    merged: dict[str, Any] = {}
    for overlay in overlays:
        for field, value in overlay.items():
            if field in merged:
                raise ConfigError(
                    f"sweep: {field}={value!r}: another list of the combination sets it too; leave it out of one"
                )
            merged[field] = value
    return merged
