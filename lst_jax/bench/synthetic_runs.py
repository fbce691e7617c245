"""Made-up runs of a known law, on which the fits of `lst_jax.laws` are measured and tested."""

import numpy as np
from jaxtyping import Float

from lst_jax.laws.points import Point

HOFFMANN = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}  # arXiv 2203.15556, approach 3


def loss(
    n: float | np.ndarray, d: float | np.ndarray, E: float, A: float, B: float, alpha: float, beta: float
) -> float | np.ndarray:
    """E + A·N^-α + B·D^-β."""
    return E + A * n**-alpha + B * d**-beta


def best_n(c: float | np.ndarray, E: float, A: float, B: float, alpha: float, beta: float) -> float | np.ndarray:
    """The N with the smallest loss at c = 6·N·D FLOPs: Hoffmann et al., eq. 4, G (C / 6)^a."""
    return (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (c / 6) ** (beta / (alpha + beta))


def iso_flop(
    budgets: np.ndarray, sizes: int, span: float | int, law: dict[str, float] = HOFFMANN
) -> tuple[Float[np.ndarray, "runs"], Float[np.ndarray, "runs"]]:
    """(N, D) of runs at each of `budgets`, in FLOPs = 6·N·D: `sizes` values of N, from 1/span to span times the best."""
    n = np.concatenate([best_n(c, **law) * np.geomspace(1 / span, span, sizes) for c in budgets])
    return n, np.repeat(budgets, sizes) / 6 / n


def points(
    n: Float[np.ndarray, "runs"],
    d: Float[np.ndarray, "runs"],
    values: Float[np.ndarray, "runs"],
    system: str = "base",
    measure: str = "loss_text",
    flops: Float[np.ndarray, "runs"] | None = None,
    items: int | None = None,
) -> list[Point]:
    """Runs with one measure each. FLOPs are 6·N·D unless given."""
    flops = 6 * n * d if flops is None else flops
    return [
        Point(
            f"{system}-{i}",
            system,
            float(n[i]),
            float(d[i]),
            float(flops[i]),
            {measure: float(values[i])},
            items,
            f"hash-{system}-{i}",
            None,
        )
        for i in range(len(n))
    ]


def noisy(values: Float[np.ndarray, "runs"], scatter: float, rng: np.random.Generator) -> Float[np.ndarray, "runs"]:
    """The values times log-normal noise whose logarithm has the standard deviation `scatter`."""
    return values * np.exp(scatter * rng.standard_normal(len(values)))
