"""What `lst fit` writes: fit.json, and the same as lines of text."""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

from lst_jax.scaling import bootstrap
from lst_jax.scaling.fit import LawFit
from lst_jax.scaling.law import COEFFICIENT, EXPONENT
from lst_jax.scaling.points import Refused
from lst_jax.scaling.study import Entry, code

FORMAT_VERSION = 1
TITLES = {"isoflop": "iso-FLOP valleys", "gap": "gap"}
AT_LARGEST = ("n_opt", "d_opt", "loss_opt")  # numbers that hold at the largest budget


def document(path: pathlib.Path, entries: Sequence[Entry], predictions: Sequence[tuple[float, float]], repeats: int,
             seed: int) -> dict[str, Any]:
    """The content of fit.json; docs/formats.md says what each key means."""
    fits = []
    for entry in entries:
        fits.append(entry.describe())
        if predictions and isinstance(entry.fit, LawFit) and entry.kind == "law":
            fits[-1]["predictions"] = [_predict(entry.fit, *where) for where in predictions]
    return {"format_version": FORMAT_VERSION, "code": code(),
            "points": {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            "intervals": {"level": bootstrap.LEVEL, "repeats": repeats, "seed": seed,
                          "method": bootstrap.METHOD}, "fits": fits}


def render(document: dict[str, Any]) -> str:
    """The document as text: a paragraph a fit, a number a line with its interval in brackets."""
    intervals = document["intervals"]
    head = (f"{intervals['level']:.0%} intervals in brackets: {intervals['method']}; {intervals['repeats']} repeats, "
            f"seed {intervals['seed']}.")
    return "\n\n".join([head, *map(_paragraph, document["fits"])])


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
    return f"{' over '.join(fit['systems']) if fit['kind'] == 'gap' else ', '.join(fit['systems'])}: " \
           f"{fit['measure']}: {what}"


def _paragraph(fit: dict[str, Any]) -> str:
    if "refused" in fit:
        return f"{title(fit)}: refused: {fit['refused']}"
    lines = [title(fit), f"  {_basis(fit)}"]
    at = f" at C={fit['largest_flops']:.3g}" if "largest_flops" in fit else ""
    lines += [f"  {name + (at if name in AT_LARGEST else ''):32s} {_interval(number)}"
              for name, number in fit["numbers"].items()]
    for budget in fit.get("budgets", ()):
        words = budget.get("refused") and f"refused: {budget['refused']}"
        words = words or ", ".join(f"{name} {_interval(budget[name])}" for name in AT_LARGEST)
        lines.append(f"  C={budget['flops']:.3g}, {len(budget['runs'])} runs: {words}")
    for prediction in fit.get("predictions", ()):
        where = f"  predicted at N={prediction['parameters']:.3g}, D={prediction['tokens']:.3g}: "
        lines.append(where + (prediction.get("refused") or _interval(prediction)))
    return "\n".join(lines)


def _basis(fit: dict[str, Any]) -> str:
    if fit["kind"] == "gap":
        gaps = ", ".join(f"{pair['gap']:.4g}" for pair in fit["pairs"])
        return f"{len(fit['pairs'])} pairs, gaps {gaps} from the smallest; noise: {fit['noise']}"
    words = f"{len(fit['runs'])} runs, scatter {fit['scatter']:.2%}"
    if "largest_residual" in fit:
        worst = fit["largest_residual"]
        words += f", largest residual {worst['relative']:+.2%} ({worst['run']})"
    if "cost" in fit:
        words += f"; C = {fit['cost']['kappa']:.3g}·N^{fit['cost']['u']:.3f}·D within {fit['cost']['worst']:.1%}"
    return words


def _interval(number: dict[str, float]) -> str:
    return f"{number['value']:.4g} [{number['low']:.4g}, {number['high']:.4g}]"


def _predict(fit: LawFit, parameters: float, tokens: float) -> dict[str, Any]:
    where = {"parameters": parameters, "tokens": tokens}
    try:
        return where | fit.predict(parameters, tokens)
    except Refused as reason:
        return where | {"refused": str(reason)}
