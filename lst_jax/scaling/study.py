"""All that `lst fit` fits to a file of runs: laws, valleys, the joint law of text, gaps; and what it refuses."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from lst_jax import __version__
from lst_jax.code_version import code_commit
from lst_jax.scaling import bootstrap
from lst_jax.scaling.fit import LINE, PLANE, LawFit, fit_law, moves_together
from lst_jax.scaling.gap import GapTrend, fit_gap
from lst_jax.scaling.isoflop import ValleyFit, fit_valleys
from lst_jax.scaling.points import Point, Refused, systems_of

REFERENCE = "base"  # of gaps and multipliers, where it is there; else the first system


@dataclasses.dataclass(frozen=True)
class Entry:
    """One fit, or the reason why there is none. Kinds: law, isoflop, joint, gap."""

    kind: str
    systems: tuple[str, ...]
    measure: str
    fit: LawFit | ValleyFit | GapTrend | None
    refused: str | None = None

    def describe(self) -> dict[str, Any]:
        """What goes into fit.json."""
        described = {"kind": self.kind, "systems": list(self.systems), "measure": self.measure}
        if self.fit is None:
            return described | {"refused": self.refused}
        if isinstance(self.fit, LawFit):
            described["variables"] = list(self.fit.law.variables)
        return described | self.fit.describe() | {"code": code(), "runs": [
            {"run": p.run, "config_hash": p.config_hash, "commit": p.commit} for p in self.fit.points]}


def code() -> dict[str, str | None]:
    """The version that fits."""
    return {"lst_jax": __version__, "commit": code_commit()}


def study(points: Sequence[Point], losses: Sequence[str], repeats: int = bootstrap.REPEATS, seed: int = 0) \
        -> list[Entry]:
    """Fits each of `losses` ("text", "speech") for each system by itself, text jointly as well, and the gaps.

    A system whose N and D move together, as in a compute-optimal family, gets a law of C instead of one of N and D.
    """
    options = {"repeats": repeats, "seed": seed}
    entries = []
    for measure in (f"loss_{kind}" for kind in losses):
        having = [p for p in points if measure in p.measures]
        systems = sorted(systems_of(having), key=lambda system: system != REFERENCE)
        for system in systems:
            own = [p for p in having if p.system == system]
            entries += [_entry("law", (system,), measure, fit_law, own, measure, _variables(own), **options),
                        _entry("isoflop", (system,), measure, fit_valleys, own, measure, **options)]
        if measure == "loss_text" and len(systems) > 1:
            ordered = sorted(having, key=lambda p: systems.index(p.system))
            entries.append(_entry("joint", tuple(systems), measure, fit_law, ordered, measure,
                                  _variables(*([p for p in having if p.system == s] for s in systems)), **options))
    for measure in (f"{what}_{kind}" for kind in losses for what in ("loss", "accuracy")):
        systems = systems_of([p for p in points if measure in p.measures])
        reference = REFERENCE if REFERENCE in systems else next(iter(systems), None)
        entries += [_entry("gap", (system, reference), measure, fit_gap, points, measure, system, reference, **options)
                    for system in systems if system != reference]
    return entries


def _variables(*families: Sequence[Point]) -> tuple[str, ...]:
    return LINE if any(moves_together(points) for points in families) else PLANE


def _entry(kind: str, systems: tuple[str, ...], measure: str, fit: Callable, *args, **options) -> Entry:
    try:
        return Entry(kind, systems, measure, fit(*args, **options))
    except Refused as reason:
        return Entry(kind, systems, measure, None, str(reason))
