"""Records of `lst evaluate RUN` without options: held-out likelihoods and completion choice."""

import dataclasses
from typing import Any, ClassVar

from lst_jax.core.directions import DIRECTIONS
from lst_jax.evals.conventions import MEASURES
from lst_jax.evals.records.kind import Row

COMPLETION_RULES = {"sum": "sum", "mean": "mean per token"}


@dataclasses.dataclass(frozen=True)
class LikelihoodRecord:
    """Flat metrics as in metrics.jsonl: `heldout/SOURCE[-MODE]/MEASURE` and `completion/DIRECTION/…`.

    A value that is not finite is None, as JSON has no other name for it.
    """

    KIND: ClassVar[str] = "likelihood"
    TITLE: ClassVar[str] = "Held-out likelihood"
    step: int
    values: dict[str, float | None]

    def file_name(self) -> str:
        """One file, of the newest evaluation."""
        return self.KIND

    def rows(self) -> list[Row]:
        """See `metric_rows`; each remark says the step."""
        return [(what, value, f"{remark}; step {self.step}") for what, value, remark in metric_rows(self.values)]

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Nothing was renamed."""
        return fields


def metric_rows(values: dict[str, Any]) -> list[Row]:
    """Rows of an evaluation's flat metrics; other keys, such as "step", have none."""
    rows = []
    for key, value in values.items():
        source, _, name = key.rpartition("/")
        if name in MEASURES and source.startswith("heldout/"):
            shown = "not finite" if value is None else f"{value:.3f}"
            rows.append((f"held-out {source.removeprefix('heldout/')}", shown, MEASURES[name]))
    for direction, arrow in DIRECTIONS.items():
        for rule, words in COMPLETION_RULES.items():
            key = f"completion/{direction}/{rule}"
            if key in values:
                interval = f"95% interval {values[key + '_low']:.1%} to {values[key + '_high']:.1%}"
                items = f"{int(values[f'completion/{direction}/items'])} items"
                rows.append(
                    (f"completion choice {arrow}", f"{values[key]:.1%}", f"{words}; {interval}, {items}, chance 50%")
                )
    return rows
