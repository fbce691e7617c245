"""Records of `lst evaluate --tasks`: how often the right choice was the likeliest, by direction and rule."""

import dataclasses
from typing import Any, ClassVar, Literal

from lst_jax.core.directions import DIRECTIONS
from lst_jax.evals.conventions import BAND_RULES, GRIDS, RULES, SCOPES, Direction, Rule
from lst_jax.evals.records.kind import Row


@dataclasses.dataclass(frozen=True)
class Share:
    """Accuracy over groups of items, its 95% interval, and the mean of each group by the groups' order."""

    groups: int
    accuracy: float
    low: float
    high: float
    by_group: tuple[float, ...] = ()  # older records have none

    def interval(self) -> str:
        """Example: "95% interval 40.0% to 60.0%, 90 items"."""
        return f"95% interval {self.low:.1%} to {self.high:.1%}, {self.groups} items"


@dataclasses.dataclass(frozen=True)
class RowFill:
    """How full the scored rows were; see `lst_jax.evals.scorer.Fill`."""

    sequences: int
    distinct: int
    batches: int
    rows: int
    row_tokens: int
    row_patches: int
    token_fill: float
    unit_fill: float
    prompt_shared: float
    prompt_again: float
    longest: int


@dataclasses.dataclass(frozen=True)
class DirectionResult:
    """One task in one direction. `chance` is None, and `rules` is empty, where no item has a label."""

    direction: Direction
    scored: Literal["response", "whole"]
    patches: Literal["restart", "continue"]
    patching: str
    note: str
    items: int
    chance: float | None
    rules: dict[Rule, Share]
    bands: dict[str, dict[str, dict[Rule, Share]]]
    fill: RowFill
    beyond_training_rows: int

    def convention(self) -> str:
        """What the numbers are, in words."""
        return f"{SCOPES[self.scored]}; {GRIDS[self.patches]}; {self.patching}"


@dataclasses.dataclass(frozen=True)
class ChoicesRecord:
    """The results of one task, one for each direction."""

    KIND: ClassVar[str] = "choices"
    TITLE: ClassVar[str] = "Tasks"
    task: str
    path: str | None
    step: int
    config_hash: str
    results: tuple[DirectionResult, ...]
    digest: str | None = None  # of the items, where `by_group` is there

    def file_name(self) -> str:
        """Example: "swuggy-00000450-restart-response"."""
        return f"{self.task}-{self.step:08d}-{self.results[0].patches}-{self.results[0].scored}"

    def joined(self, earlier: "ChoicesRecord") -> "ChoicesRecord":
        """With the directions that `earlier` alone has, where it is of the same items, step and configuration."""
        of = ("task", "step", "config_hash", "digest")
        if self.digest is None or any(getattr(self, name) != getattr(earlier, name) for name in of):
            return self
        results = {result.direction: result for result in (*earlier.results, *self.results)}
        return dataclasses.replace(self, results=tuple(results[way] for way in DIRECTIONS if way in results))

    def rows(self) -> list[Row]:
        """(task and direction, accuracy, rule, interval and convention); each band has lines of its own."""
        found = []
        for one in self.results:
            what, remark = f"{self.task} {DIRECTIONS[one.direction]}", f"{one.convention()}; step {self.step}"
            if one.beyond_training_rows:
                remark += f"; {one.beyond_training_rows} of {one.fill.sequences} sequences longer than a training row"
            for rule, share in one.rules.items():
                chance = "" if one.chance is None else f", chance {one.chance:.0%}"
                found.append((what, f"{share.accuracy:.1%}", f"{RULES[rule]}; {share.interval()}{chance}; {remark}"))
            for name, values in one.bands.items():
                for value, rules in values.items():
                    found += [
                        (
                            f"{what}, {name} {value}",
                            f"{rules[rule].accuracy:.1%}",
                            f"{RULES[rule]}; {rules[rule].interval()}; {remark}",
                        )
                        for rule in BAND_RULES
                        if rule in rules
                    ]
        return found

    def fill_lines(self) -> list[str]:
        """One line for each direction: how full the rows were, and what was computed once for several choices."""
        lines = []
        for one in self.results:
            fill = one.fill
            lines.append(
                f"{self.task} {DIRECTIONS[one.direction]}: {fill.sequences} sequences, {fill.distinct} of them distinct; "
                f"rows are {fill.token_fill:.1%} (tokens) and {fill.unit_fill:.1%} (patch positions) full; "
                f"shared prompts saved {fill.prompt_shared:.1%} of the tokens, "
                f"prompts computed again are {fill.prompt_again:.1%}"
                + ("" if one.rules else "; no labels: scores only")
            )
        return lines

    def beyond_lines(self, row_tokens: int, row_patches: int) -> list[str]:
        """One line for each direction with sequences that no row of this size holds, the run's training rows."""
        return [
            f"{self.task} {DIRECTIONS[one.direction]}: {one.beyond_training_rows} of {one.fill.sequences} sequences are "
            f"longer than a training row (data.row_tokens={row_tokens}, data.row_patches={row_patches}; the longest has "
            f"{one.fill.longest} tokens); they are scored whole, at positions that training did not reach"
            for one in self.results
            if one.beyond_training_rows
        ]

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Rows had `row_units` before patch positions got their name."""
        for result in fields["results"]:
            if "row_units" in result["fill"]:
                result["fill"]["row_patches"] = result["fill"].pop("row_units")
        return fields
