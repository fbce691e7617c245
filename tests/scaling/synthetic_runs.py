"""Made-up runs of a known law, for the fits."""

import json

import numpy as np

from lst_jax.scaling.points import Point

HOFFMANN = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}  # arXiv 2203.15556, approach 3


def loss(n, d, E, A, B, alpha, beta):
    return E + A * n**-alpha + B * d**-beta


def best_n(c, E, A, B, alpha, beta):
    """Hoffmann et al., eq. 4: G (C / 6)^a."""
    return (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (c / 6) ** (beta / (alpha + beta))


def iso_flop(budgets, sizes, span, law=HOFFMANN):
    """(N, D) of `sizes` around the best N at each of `budgets` in FLOPs = 6·N·D, from 1/span to span times it."""
    n = np.concatenate([best_n(c, **law) * np.geomspace(1 / span, span, sizes) for c in budgets])
    return n, np.repeat(budgets, sizes) / 6 / n


def points(n, d, values, system="base", measure="loss_text", flops=None, items=None):
    """Runs with one measure; FLOPs are 6·N·D unless given."""
    flops = 6 * n * d if flops is None else flops
    return [Point(f"{system}-{i}", system, float(n[i]), float(d[i]), float(flops[i]), {measure: float(values[i])},
                  items, f"hash-{system}-{i}", None) for i in range(len(n))]


def noisy(values, scatter, rng):
    return values * np.exp(scatter * rng.standard_normal(len(values)))


def write(path, points):
    """The runs as the JSON lines that `lst fit` reads."""
    path.write_text("".join(json.dumps(
        {"run": p.run, "system": p.system, "parameters": p.parameters, "tokens": p.tokens, "flops": p.flops,
         **p.measures, "items": p.items, "config_hash": p.config_hash, "commit": p.commit}) + "\n" for p in points))
    return path
