"""No patches: every unit is a patch of its own, as the baselines without local networks read them."""

import functools

import numpy as np

from lst_jax.config import Config
from lst_jax.core.strict import fail
from lst_jax.data.patching.base import Boundaries, BoundaryRule, SpeechRun, Strategy


class EachUnitRule(BoundaryRule):
    """Each unit, or each unit piece, a patch."""

    name = "none"
    fixed_size = 1

    def boundaries(self, run: SpeechRun) -> Boundaries:
        """Where the patches of the run start, and where they are known to end."""
        return np.ones(run.units, bool), np.ones(run.units, bool)

    @property
    def description(self) -> str:
        """The rule in words, for tables."""
        return "no patches"


class NoPatches(Strategy):
    """Every document without patches. Names of systems do not choose it: the architecture "base" does."""

    name = EachUnitRule.name
    patches_speech = False

    @functools.cached_property
    def inference_rule(self) -> BoundaryRule:
        """Each unit a patch."""
        return EachUnitRule()

    @property
    def mean_patch(self) -> int:
        """One: each unit is a patch."""
        return 1

    def check(self, config: Config) -> None:
        """Checks also that rows have as many patch positions as tokens. Raises: ConfigError."""
        super().check(config)
        data = config.data
        if data.row_patches != data.row_tokens:
            fail(
                "data.row_patches",
                data.row_patches,
                "must equal data.row_tokens where every token is a patch",
                f"use {data.row_tokens}",
            )
