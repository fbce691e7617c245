"""What `lst fit` writes: fit.json, and the same as lines of text."""

from collections.abc import Sequence
from typing import Any

from lst_jax.laws import bootstrap
from lst_jax.laws.fit import LawFit
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
AT_LARGEST = ("n_opt", "d_opt", "loss_opt")  # numbers that hold at the largest budget


def document(
    path: Place,
    entries: Sequence[Entry],
    predictions: Sequence[tuple[float, float]],
    repeats: int,
    seed: int,
    cost: str = "flops",
) -> dict[str, Any]:
    """The content of fit.json; docs/formats.md says what each key means."""
    fits = []
    for entry in entries:
        fits.append(entry.describe())
        if predictions and isinstance(entry.fit, LawFit) and entry.kind == "law":
            fits[-1]["predictions"] = [_predict(entry.fit, *where) for where in predictions]
    return {
        "format_version": FORMAT_VERSION,
        "code": code(),
        "points": {"file": str(path), "sha256": objects.sha256(path)},
        "cost": cost,
        "intervals": {"level": bootstrap.LEVEL, "repeats": repeats, "seed": seed, "method": bootstrap.METHOD},
        "fits": fits,
    }


def render(document: dict[str, Any]) -> str:
    """The document as text: a paragraph a fit, a number a line with its interval in brackets."""
    return "\n\n".join([method(document), *map(_paragraph, document["fits"])])


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
        where = f"{{}} at C={budget['flops']:.3g}, {len(budget['runs'])} runs"
        found += (
            [(where.format("lowest point"), f"refused: {budget['refused']}", "")]
            if "refused" in budget
            else [(where.format(name), *_words(budget[name])) for name in AT_LARGEST]
        )
    for prediction in fit.get("predictions", ()):
        where = f"predicted at N={prediction['parameters']:.3g}, D={prediction['tokens']:.3g}"
        found.append(
            (where, f"refused: {prediction['refused']}", "")
            if "refused" in prediction
            else (where, *_words(prediction))
        )
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


def _paragraph(fit: dict[str, Any]) -> str:
    if "refused" in fit:
        return f"{title(fit)}: refused: {fit['refused']}"
    numbers = [f"  {name:32s} {value} {interval}".rstrip() for name, value, interval in rows(fit)]
    return "\n".join([title(fit), f"  {basis(fit)}", *numbers])


def _words(number: dict[str, float]) -> tuple[str, str]:
    return f"{number['value']:.4g}", f"[{number['low']:.4g}, {number['high']:.4g}]"


def _predict(fit: LawFit, parameters: float, tokens: float) -> dict[str, Any]:
    where = {"parameters": parameters, "tokens": tokens}
    try:
        return where | fit.predict(parameters, tokens)
    except Refused as reason:
        return where | {"refused": str(reason)}
