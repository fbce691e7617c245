"""From a file of runs to the files of a fit: fit.json, fit.txt and pictures, for `lst fit --out` and for reports."""

from collections.abc import Mapping, Sequence
from typing import Any

from lst_jax.core.errors import ConfigError
from lst_jax.laws import bootstrap, fit_report
from lst_jax.laws.columns import Columns
from lst_jax.laws.fit import check_budget_near, check_near
from lst_jax.laws.points import SAME, Point, at_cost_of_time, systems_of
from lst_jax.laws.study import study
from lst_jax.laws.tables import read_runs
from lst_jax.storage import objects
from lst_jax.storage.place import Place


def fit_files(
    points_path: Place,
    out: Place | None,
    losses: Sequence[str],
    repeats: int = bootstrap.REPEATS,
    seed: int = 0,
    predictions: Sequence[tuple[float, float]] = (),
    *,
    systems: Sequence[str] | None = None,
    far: bool = False,
    units: Mapping[str, str] | None = None,
    cost: str = "flops",
    columns: Columns | None = None,
    budgets: Sequence[float] = (),
    tolerance: float = SAME,
    progress: bool = False,
) -> tuple[dict[str, Any], list[tuple[Place, str]]]:
    """Fits the runs of a file; returns the content of fit.json, and (PNG file, caption) of the pictures.

    Args: out: folder to write into; None writes nothing. losses: "text", "speech". predictions: (N, D). systems: only
    these. far: predict beyond 3 times the largest run too. units: of a measure, for the pictures' axes. cost: what C is,
    "flops" or "seconds" of training; pictures are of FLOPs, and are drawn of nothing else. columns: of other people's
    runs. budgets: C at which the best N and D are wanted. tolerance: of an iso-FLOP budget.
    Raises: DataError of the file; ConfigError of a prediction, a budget, a column or a system; StorageError. What is
    refused is in the document, also where it is everything.
    """
    runs = read_runs(points_path, columns)
    if runs.kinds and len(losses) == 1:
        raise ConfigError(f"--loss {losses[0]}: {points_path} has one loss; leave this out, or use --loss-column NAME")
    points, losses = _of_systems(runs.points, points_path, systems), runs.kinds or losses
    if cost == "seconds":
        points = at_cost_of_time(points, str(points_path))
    if not far:
        _check_near(points, predictions, budgets)
    entries = study(points, losses, repeats, seed, progress, tolerance)
    document = fit_report.document(points_path, entries, predictions, repeats, seed, cost, budgets, runs.notes)
    if out is None:
        return document, []
    objects.write_json(out / "fit.json", document)
    objects.write_text(out / "fit.txt", fit_report.render(document) + "\n")
    if cost != "flops":
        return document, []
    from lst_jax.laws import fit_figures

    return document, fit_figures.write_all(entries, points, losses, out, units or {})


def _of_systems(points: Sequence[Point], points_path: Place, systems: Sequence[str] | None) -> list[Point]:
    known = systems_of(points)
    for system in systems or ():
        if system not in known:
            raise ConfigError(
                f"--system {system}: no run of {points_path} is of it; its systems are {', '.join(known)}"
            )
    return [p for p in points if systems is None or p.system in systems]


def _check_near(points: Sequence[Point], predictions: Sequence[tuple[float, float]], budgets: Sequence[float]) -> None:
    for system in systems_of(points):
        own = [p for p in points if p.system == system]
        for where in predictions:
            check_near(own, *where)
        for budget in budgets:
            check_budget_near(own, budget)
