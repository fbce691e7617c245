"""Mixtures of aligned and static patches, a document at a time: at even odds, or by the paper's curriculum (§3.1)."""

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from lst_jax.data.patching.aligned import ALIGNED_NAME, aligned_fields, aligned_rule
from lst_jax.data.patching.base import DEFAULT_SIZE, BoundaryRule, Strategy
from lst_jax.data.patching.static import static_rule


class Mixed(Strategy):
    """Each document is aligned with probability one half, otherwise static. At inference patches are static."""

    name = "mixed"
    draws_words = True
    pattern = rf"mixed(?P<size>[1-9]\d*)?(?:-(?P<aligned>{ALIGNED_NAME}))?"
    usage = ("mixed[P][-ALIGNED]",)

    @functools.cached_property
    def inference_rule(self) -> BoundaryRule:
        """Static patches, which need no words: the model has seen both kinds."""
        return static_rule(self.config)

    @functools.cached_property
    def _aligned_rule(self) -> BoundaryRule:
        return aligned_rule(self.config)

    def aligned_probability(self, step: int) -> float:
        """P(u) is one half at every step."""
        return 0.5

    def draw(self, step: int, rng: Callable[[], np.random.Generator]) -> BoundaryRule:
        """The aligned rule with probability P(u), otherwise the static one."""
        probability = self.aligned_probability(step)
        is_aligned = probability == 1.0 or (probability > 0.0 and rng().random() < probability)
        return self._aligned_rule if is_aligned else self.inference_rule

    @classmethod
    def fields_of(cls, found: re.Match) -> dict[str, Any]:
        """The size of static patches, and the kind of aligned ones."""
        return {"static_size": int(found["size"] or DEFAULT_SIZE), **aligned_fields(found["aligned"])}


class Curriculum(Mixed):
    """P(u) is one up to step `tau1`, falls linearly up to `tau2`, and is `final_probability` from there on."""

    name = "curriculum"
    pattern = rf"curriculum(?P<size>[1-9]\d*)?(?:-from-(?P<aligned>{ALIGNED_NAME}))?(?P<to_mixed>-to-mixed)?"
    usage = ("curriculum[P][-from-ALIGNED][-to-mixed]",)

    def aligned_probability(self, step: int) -> float:
        """P(u) as the class says."""
        tau1, tau2, final = self.config.tau1, self.config.tau2, self.config.final_probability
        if step < tau1:
            return 1.0
        if step >= tau2:
            return final
        return 1.0 - (1.0 - final) * (step - tau1) / (tau2 - tau1)

    @property
    def schedule(self) -> str:
        """The two steps at which P(u) begins and ends to fall."""
        last = self.config.final_probability
        then = f"with probability {last:g}" if last else "static ones"
        return f"aligned patches to step {self.config.tau1:,}, from {self.config.tau2:,} {then}"

    def unfinished(self, steps: int) -> str:
        """A curriculum that a shorter run leaves before its end: τ1 and τ2 do not follow `train.steps`."""
        if self.config.tau2 <= steps:
            return ""
        return (
            f"data.patching.tau2={self.config.tau2}: the curriculum ends after the run does, at train.steps={steps}; for three "
            f"equal parts set data.patching.tau1={steps // 3} and data.patching.tau2={2 * steps // 3}"
        )

    @classmethod
    def fields_of(cls, found: re.Match) -> dict[str, Any]:
        """Also what the curriculum ends in."""
        return {**super().fields_of(found), "final_probability": 0.5 if found["to_mixed"] else 0.0}
