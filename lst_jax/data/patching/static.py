"""Static patches: runs of a fixed number of units, whatever is said in them (paper §3.1)."""

import functools
import re
from typing import Any

import numpy as np

from lst_jax.data.patching.base import DEFAULT_SIZE, Boundaries, BoundaryRule, SpeechRun, Strategy


class StaticRule(BoundaryRule):
    """Patches of `size` units from the run's first unit. That a short last one ends is not known from within it."""

    name = "static"
    restarts = True

    def __init__(self, size: int):
        """`size` in units."""
        self.fixed_size = self._size = size

    def boundaries(self, run: SpeechRun) -> Boundaries:
        """Where the patches of the run start, and where they are known to end."""
        start, end = np.zeros(run.units, bool), np.zeros(run.units, bool)
        start[:: self._size] = True
        end[self._size - 1 :: self._size] = True
        return start, end

    @property
    def description(self) -> str:
        """The rule in words, for tables."""
        return f"static patches of {self._size}"


class Static(Strategy):
    """Every document in static patches."""

    name = StaticRule.name
    pattern = r"static(?P<size>[1-9]\d*)?"
    usage = ("static[P]",)

    @functools.cached_property
    def inference_rule(self) -> BoundaryRule:
        """Static patches of `static_size` units."""
        return StaticRule(self.config.static_size)

    @property
    def label(self) -> str:
        """The strategy and its patch size. Example: "static-4"."""
        return f"{self.name}-{self.config.static_size}"

    @classmethod
    def fields_of(cls, found: re.Match) -> dict[str, Any]:
        """The patch size."""
        return {"static_size": int(found["size"] or DEFAULT_SIZE)}
