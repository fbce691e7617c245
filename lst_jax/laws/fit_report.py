"""What `lst fit` writes: fit.json, and the same as lines of text."""

import re
from collections.abc import Sequence
from typing import Any

from lst_jax.laws import bootstrap
from lst_jax.laws.fit import LawFit
from lst_jax.laws.isoflop import ValleyFit
from lst_jax.laws.law import COEFFICIENT, EXPONENT
from lst_jax.laws.points import Refused
from lst_jax.laws.study import Entry, code
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FORMAT_VERSION = 1
TITLES = {"isoflop": "iso-FLOP valleys", "gap": "gap", "multiplier": "compute multiplier"}
OVER = ("gap", "multiplier")  # kinds of a system over the reference
GROWS = {True: "grows as losses fall", False: "shrinks as losses fall", None: "may grow or shrink as losses fall"}
TIME_NOTE = " C is seconds of training on the machine of the runs, so that compute and budgets are time."
BEST = ("n_opt", "d_opt", "tokens_per_parameter", "loss_opt")
AT_LARGEST = ("n_opt", "d_opt", "loss_opt")  # numbers that hold at the largest budget


def document(
    path: Place,
    entries: Sequence[Entry],
    predictions: Sequence[tuple[float, float]],
    repeats: int,
    seed: int,
    cost: str = "flops",
    budgets: Sequence[float] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of fit.json; docs/formats.md says what each key means."""
    fits = []
    for entry in entries:
        fits.append(entry.describe())
        if predictions and isinstance(entry.fit, LawFit) and entry.kind == "law":
            fits[-1]["predictions"] = [_predict(entry.fit, *where) for where in predictions]
        if budgets and entry.kind in ("law", "isoflop") and entry.fit is not None:
            fits[-1]["compute_optimal"] = [_best_at(entry.fit, budget) for budget in budgets]
    return {
        "format_version": FORMAT_VERSION,
        "code": code(),
        "points": {"file": str(path), "sha256": objects.sha256(path)},
        "notes": list(notes),
        "cost": cost,
        "intervals": {"level": bootstrap.LEVEL, "repeats": repeats, "seed": seed, "method": bootstrap.METHOD},
        "fits": fits,
    }


def render(document: dict[str, Any]) -> str:
    """The document as text: a paragraph a fit, a number a line with its interval in brackets."""
    return "\n\n".join(
        [
            "\n".join([*document["notes"], method(document)]),
            *(_paragraph(fit, document["cost"]) for fit in document["fits"]),
        ]
    )


def method(document: dict[str, Any]) -> str:
    """How the intervals were made, in a line."""
    intervals = document["intervals"]
    return (
        f"{intervals['level']:.0%} intervals in brackets: {intervals['method']}; {intervals['repeats']} repeats, "
        f"seed {intervals['seed']}." + TIME_NOTE * (document.get("cost") == "seconds")
    )


def title(fit: dict[str, Any]) -> str:
    """Example: "lst, loss_text: L(N, D) = E + A·N^-alpha + B·D^-beta"."""
    if fit["kind"] in TITLES:
        what = TITLES[fit["kind"]]
    elif "variables" not in fit:
        what = "joint law" if fit["kind"] == "joint" else "law"
    else:
        terms = "".join(f" + {COEFFICIENT[v]}·{v}^-{EXPONENT[v]}" for v in fit["variables"])
        what = f"L({', '.join(fit['variables'])}) = E{terms}"
        if fit["kind"] == "joint":
            what += f", with E and exponents in common; coefficients of {fit['systems'][0]}, multipliers over it"
    return (
        f"{' over '.join(fit['systems']) if fit['kind'] in OVER else ', '.join(fit['systems'])}: "
        f"{fit['measure']}: {what}"
    )


def rows(fit: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, interval) of every number of a fit that was not refused, budgets and predictions last.

    A budget or a prediction that was refused has its reason in the place of the value.
    """
    at = f" at C={fit['largest_flops']:.3g}" if "largest_flops" in fit else ""
    found = [(name + (at if name in AT_LARGEST else ""), *_words(number)) for name, number in fit["numbers"].items()]
    for budget in fit.get("budgets", ()):
        if "refused" not in budget:
            where = f"{{}} at C={budget['flops']:.3g}, {len(budget['runs'])} runs"
            found += [(where.format(name), *_words(budget[name])) for name in AT_LARGEST]
    found += _refused_budgets([budget for budget in fit.get("budgets", ()) if "refused" in budget])
    for prediction in fit.get("predictions", ()):
        where = f"predicted at N={prediction['parameters']:.3g}, D={prediction['tokens']:.3g}"
        found.append(
            (where, f"refused: {prediction['refused']}", "")
            if "refused" in prediction
            else (where, *_words(prediction))
        )
    return found


def optimum_header(cost: str) -> tuple[str, ...]:
    """Of the table of compute-optimal runs; `cost` as in fit.json."""
    return ("C, seconds" if cost == "seconds" else "C, FLOPs", "N", "D", "tokens per parameter", "loss")


def optimum_rows(fit: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row per budget of `--at`: every number with its interval; a reason in the place of N where there is none."""
    return [
        (f"{best['flops']:.4g}", f"refused: {best['refused']}", "", "", "")
        if "refused" in best
        else (f"{best['flops']:.4g}", *(" ".join(_words(best[name])) if name in best else "" for name in BEST))
        for best in fit.get("compute_optimal", ())
    ]


def _refused_budgets(budgets: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """A row per reason, but for how many sizes there are: many budgets of a run or two are said in one."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for budget in budgets:
        by_reason.setdefault(re.sub(r"^\d+ ", "", budget["refused"]), []).append(budget)
    found = []
    for reason, of in by_reason.items():
        runs = sum(len(budget["runs"]) for budget in of)
        counts = sorted({int(match[0]) for budget in of if (match := re.match(r"\d+", budget["refused"]))})
        spread = f"{counts[0]} to {counts[-1]} {reason}" if len(counts) > 1 else of[0]["refused"]
        where = (
            f"lowest points of {len(of)} budgets at C={of[0]['flops']:.3g} to {of[-1]['flops']:.3g}, {runs} runs"
            if len(of) > 1
            else f"lowest point at C={of[0]['flops']:.3g}, {runs} runs"
        )
        found.append((where, f"refused: {spread}", ""))
    return found


def basis(fit: dict[str, Any]) -> str:
    """What a fit that was not refused rests on, in a line."""
    if fit["kind"] == "gap":
        gaps = ", ".join(f"{pair['gap']:.4g}" for pair in fit["pairs"])
        return f"{len(fit['pairs'])} pairs, gaps {gaps} from the smallest; noise: {fit['noise']}"
    if fit["kind"] == "multiplier":
        return (
            f"{len(fit['runs'])} runs; how much more compute {fit['systems'][1]} needs along {fit['along']}, at "
            f"losses from {fit['highest_loss']:.4g} down to {fit['lowest_loss']:.4g}; {GROWS[fit['grows']]}"
        )
    words = f"{len(fit['runs'])} runs, scatter {fit['scatter']:.2%}"
    if "largest_residual" in fit:
        worst = fit["largest_residual"]
        words += f", largest residual {worst['relative']:+.2%} ({worst['run']})"
    if "cost" in fit:
        words += f"; C = {fit['cost']['kappa']:.3g}·N^{fit['cost']['u']:.3f}·D within {fit['cost']['worst']:.1%}"
    return words


def _paragraph(fit: dict[str, Any], cost: str) -> str:
    if "refused" in fit:
        return f"{title(fit)}: refused: {fit['refused']}"
    numbers = [f"  {name:31s}  {value} {interval}".rstrip() for name, value, interval in rows(fit)]
    return "\n".join([title(fit), f"  {basis(fit)}", *numbers, *_aligned(optimum_header(cost), optimum_rows(fit))])


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table of text; none where it has no rows."""
    lines = [header, *rows] if rows else []
    columns = zip(*lines, strict=True)
    widths = [max(len(cell) for cell in column if not cell.startswith("refused")) for column in columns]
    return ["  " + "  ".join(f"{cell:{w}s}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def _best_at(fit: LawFit | ValleyFit, budget: float) -> dict[str, Any]:
    try:
        return {"flops": budget, **fit.best_at(budget)}
    except Refused as reason:
        return {"flops": budget, "refused": str(reason)}


def _words(number: dict[str, float]) -> tuple[str, str]:
    return f"{number['value']:.4g}", f"[{number['low']:.4g}, {number['high']:.4g}]"


def _predict(fit: LawFit, parameters: float, tokens: float) -> dict[str, Any]:
    where = {"parameters": parameters, "tokens": tokens}
    try:
        return where | fit.predict(parameters, tokens)
    except Refused as reason:
        return where | {"refused": str(reason)}
