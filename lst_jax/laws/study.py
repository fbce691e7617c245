"""All that `lst fit` fits to a file of runs: laws, valleys, joint laws, multipliers, gaps; and what it refuses."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tqdm import tqdm

from lst_jax import __version__
from lst_jax.core.code_version import code_commit
from lst_jax.laws import bootstrap
from lst_jax.laws.fit import LINE, PLANE, LawFit, fit_law, moves_together
from lst_jax.laws.gap import GapTrend, fit_gap
from lst_jax.laws.isoflop import ValleyFit, fit_valleys
from lst_jax.laws.multiplier import Multiplier, fit_multiplier
from lst_jax.laws.points import SAME, Point, Refused, measure_of, systems_of

REFERENCE = "base"  # of gaps and multipliers, where it is there; else the first system


@dataclasses.dataclass(frozen=True)
class Entry:
    """One fit, or the reason why there is none. Kinds: law, isoflop, joint, multiplier, gap."""

    kind: str
    systems: tuple[str, ...]
    measure: str
    fit: LawFit | ValleyFit | Multiplier | GapTrend | None
    refused: str | None = None

    def describe(self) -> dict[str, Any]:
        """What goes into fit.json."""
        described = {"kind": self.kind, "systems": list(self.systems), "measure": self.measure}
        if self.fit is None:
            return described | {"refused": self.refused}
        if isinstance(self.fit, LawFit):
            described["variables"] = list(self.fit.law.variables)
        return (
            described
            | self.fit.describe()
            | {
                "code": code(),
                "runs": [{"run": p.run, "config_hash": p.config_hash, "commit": p.commit} for p in self.fit.points],
            }
        )


def code() -> dict[str, str | None]:
    """The version that fits."""
    return {"lst_jax": __version__, "commit": code_commit()}


def study(
    points: Sequence[Point],
    losses: Sequence[str],
    repeats: int = bootstrap.REPEATS,
    seed: int = 0,
    progress: bool = False,
    tolerance: float = SAME,
) -> list[Entry]:
    """Fits each of `losses` ("text", "speech"; "" of other people's runs) for each system by itself and jointly,
    multipliers over it, and gaps. `tolerance` is that of an iso-FLOP budget.

    A system whose N and D move together, as in a compute-optimal family, gets a law of C instead of one of N and D.
    """
    entries: list[Entry] = []
    jobs: list[tuple[str, tuple[str, ...], str, Callable]] = []
    for measure in (measure_of("loss", kind) for kind in losses):
        families = {
            system: [p for p in points if p.system == system and measure in p.measures]
            for system in _systems(points, measure)
        }
        for system, own in families.items():
            jobs += [
                ("law", (system,), measure, partial(fit_law, own, measure, _variables(own))),
                ("isoflop", (system,), measure, partial(fit_valleys, own, measure, tolerance=tolerance)),
            ]
        if len(families) > 1:
            jobs.append(
                (
                    "joint",
                    tuple(families),
                    measure,
                    partial(
                        fit_law, list(itertools.chain(*families.values())), measure, _variables(*families.values())
                    ),
                )
            )
            reference, *others = families
            jobs += [
                ("multiplier", (system, reference), measure, partial(_multiplier, entries, system, reference, measure))
                for system in others
            ]
    for measure in (measure_of(what, kind) for kind in losses for what in ("loss", "accuracy")):
        reference, *others = _systems(points, measure) or [None]
        jobs += [
            ("gap", (system, reference), measure, partial(fit_gap, points, measure, system, reference))
            for system in others
        ]
    for kind, systems, measure, fit in tqdm(jobs, desc="fits", disable=not progress):
        try:
            entries.append(Entry(kind, systems, measure, fit(repeats=repeats, seed=seed)))
        except Refused as reason:
            entries.append(Entry(kind, systems, measure, None, str(reason)))
    return entries


def _multiplier(
    entries: Sequence[Entry], system: str, reference: str, measure: str, repeats: int, seed: int
) -> Multiplier:
    """From the laws of both, which are among the entries by now; `repeats` are theirs."""
    laws = []
    for name in (system, reference):
        entry = next(e for e in entries if (e.kind, e.systems, e.measure) == ("law", (name,), measure))
        if entry.fit is None:
            raise Refused(f"{name} has no law: {entry.refused}")
        laws.append(entry.fit)
    return fit_multiplier(*laws, seed=seed)


def _systems(points: Sequence[Point], measure: str) -> list[str]:
    """Those that have the measure, the reference first."""
    return sorted(systems_of([p for p in points if measure in p.measures]), key=lambda system: system != REFERENCE)


def _variables(*families: Sequence[Point]) -> tuple[str, ...]:
    return LINE if any(moves_together(points) for points in families) else PLANE
