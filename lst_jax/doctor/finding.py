"""What a check found: one line, with the fix where something is wrong."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Literal

from lst_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding. A `fail` ends a job, a `warn` may be meant."""

    level: Literal["ok", "warn", "fail"]
    what: str  # was looked at: "python", "gs://bucket/runs"
    said: str
    fix: str | None = None

    @property
    def line(self) -> str:
        """Example: "fail  gs://b/runs: cannot be written, as its bucket is not there; correct the address"."""
        fix = "" if self.fix is None else f"; {self.fix}"
        return f"{self.level:<5} {self.what}: {self.said}{fix}"


def guarded(what: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The findings of a check. A mistake that it raises is one of them, in the words of the error."""
    found = []
    try:
        found.extend(check())
    except UserError as error:
        text = str(error).removeprefix(f"{what}: ")
        found.append(Finding("fail", what, text))
    return found
