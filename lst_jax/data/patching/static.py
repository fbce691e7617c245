"""Static patches: runs of a fixed number of units, whatever is said in them (paper §3.1)."""

import functools
import re
from typing import Any

import numpy as np

from lst_jax.config import PatchingConfig
from lst_jax.data.patching.base import DEFAULT_SIZE, Boundaries, BoundaryRule, SpeechRun, Strategy


class StaticRule(BoundaryRule):
    """Patches of `size` units from the run's first unit. That a short last one ends is not known from within it.

    If the rule takes the marker, that is the first token of the first patch, which has a unit less.
    """

    name = "static"
    restarts = True

    def __init__(self, size: int, takes_marker: bool = False):
        """`size` in units."""
        self.fixed_size = self._size = size
        self.takes_marker = takes_marker

    def boundaries(self, run: SpeechRun) -> Boundaries:
        """Where the patches of the run start, and where they are known to end. A marker that is taken counts as a unit."""
        start, end = np.zeros(run.units, bool), np.zeros(run.units, bool)
        start[:: self._size] = True
        end[self._size - 1 :: self._size] = True
        return start, end

    @property
    def description(self) -> str:
        """The rule in words, for tables."""
        return f"static patches of {self._size}" + ", markers included" * self.takes_marker


class Static(Strategy):
    """Every document in static patches."""

    name = StaticRule.name
    pattern = r"static(?P<size>[1-9]\d*)?"
    usage = ("static[P]",)

    @functools.cached_property
    def inference_rule(self) -> BoundaryRule:
        """Static patches of `static_size` units."""
        return static_rule(self.config)

    @property
    def label(self) -> str:
        """The strategy and its patch size. Example: "static-4"."""
        return f"{self.name}-{self.config.static_size}"

    @classmethod
    def fields_of(cls, found: re.Match) -> dict[str, Any]:
        """The patch size."""
        return {"static_size": int(found["size"] or DEFAULT_SIZE)}


def static_rule(config: PatchingConfig) -> StaticRule:
    """The static patches of a run."""
    return StaticRule(config.static_size, config.marker_opens_patch)
