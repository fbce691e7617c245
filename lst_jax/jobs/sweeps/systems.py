"""Which runs of a sweep are of one system, and what it is called: those of one label, size and length."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from lst_jax.core.errors import DataError

Run = TypeVar("Run")


class Kind(NamedTuple):
    """What runs of one system share; they differ in their seeds."""

    label: str
    parameters: int
    steps: int


def by_name(runs: Sequence[Run], kinds: Sequence[Kind]) -> dict[str, list[Run]]:
    """The runs of each system, in the order of `runs`, by its name.

    Where the runs of a label have several sizes or lengths, these are in the name. Examples: "base", "base 0.962M",
    "base 400 steps", "base 0.962M 1290 steps".
    """
    sizes: dict[str, set[int]] = {}
    lengths: dict[str, set[int]] = {}
    for label, parameters, steps in kinds:
        sizes.setdefault(label, set()).add(parameters)
        lengths.setdefault(label, set()).add(steps)
    systems: dict[str, list[Run]] = {}
    for run, (label, parameters, steps) in zip(runs, kinds, strict=True):
        size = f" {parameters / 1e6:.3g}M" if len(sizes[label]) > 1 else ""
        length = f" {steps} steps" if len(lengths[label]) > 1 else ""
        systems.setdefault(f"{label}{size}{length}", []).append(run)
    return systems


def chosen(wanted: Sequence[str], runs: Sequence[Run], kinds: Sequence[Kind]) -> list[Run]:
    """The runs of the wanted labels or systems, in this order. Raises: DataError where no run has such a name."""
    systems = by_name(runs, kinds)
    kept: list[Run] = []
    for name in wanted:
        labelled = [run for run, kind in zip(runs, kinds, strict=True) if kind.label == name]
        found = systems.get(name, labelled)
        if not found:
            raise DataError(f"--systems {name}: no run has this label; use some of {', '.join(systems)}")
        kept += found
    return kept
