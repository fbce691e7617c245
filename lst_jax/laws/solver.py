"""Minimises the Huber loss of log-sum-exp laws, for many targets at once.

A law is log L = logsumexp over terms of design · θ, and its objective is Σ huber(log L(θ) − log measured), δ = 1e-3, as
in approach 3 of Hoffmann et al. 2022 (arXiv 2203.15556). The global minimum is looked for from many starts by a damped
Gauss–Newton iteration over all of them at once, and finished with L-BFGS. Refits of simulated targets start from there
and go through the same iteration together.

Letters: design is [runs, terms, params], θ is [repeats, params], targets are [repeats, runs].
"""

import dataclasses

import numpy as np
import scipy.optimize
from jaxtyping import Float

DELTA = 1e-3
# Hoffmann et al. minimised a mean near 1e-6, where L-BFGS's default tolerances stop early (Besiroglu et al. 2024, arXiv
# 2404.10102). The loss is summed and divided by δ² here, so that a residual of δ costs 1/2.
SCALE = 1 / DELTA**2
STARTS = 64  # of the grid, the best ones
ITERATIONS = 150
SETTLED = 1e-10  # relative fall of the objective below which a step counts as none
LARGEST_DAMPING = 1e10


@dataclasses.dataclass(frozen=True)
class Box:
    """Least and largest value of each param; steps end at its walls."""

    low: Float[np.ndarray, "params"]
    high: Float[np.ndarray, "params"]


def evaluate(
    design: Float[np.ndarray, "runs terms params"], theta: Float[np.ndarray, "repeats params"]
) -> tuple[Float[np.ndarray, "repeats runs"], Float[np.ndarray, "repeats runs params"]]:
    """log L at every run, and its derivatives by θ."""
    runs, terms, params = design.shape
    logits = (theta @ design.reshape(-1, params).T).reshape(-1, runs, terms)
    top = logits.max(-1, keepdims=True)
    shares = np.exp(logits - top)
    total = shares.sum(-1, keepdims=True)
    slopes = np.einsum("rnk,nkp->rnp", shares / total, design)
    return (top + np.log(total))[..., 0], slopes


def huber(residuals: np.ndarray) -> np.ndarray:
    """r²/2 up to |r| = δ and δ(|r| − δ/2) beyond, over δ²."""
    size = np.abs(residuals)
    return SCALE * np.where(size <= DELTA, size**2 / 2, DELTA * (size - DELTA / 2))


def minimise(
    design: Float[np.ndarray, "runs terms params"],
    target: Float[np.ndarray, "runs"],
    starts: Float[np.ndarray, "starts params"],
    box: Box,
) -> Float[np.ndarray, "params"]:
    """θ of the least objective that the best of `starts` lead to."""
    at_start = huber(evaluate(design, starts)[0] - target).sum(-1)
    best = starts[np.argsort(at_start, kind="stable")[:STARTS]]
    ends, objectives = descend(design, np.broadcast_to(target, (len(best), len(target))), best, box)
    return _finish(design, target, ends[np.argmin(objectives)], box)


def descend(
    design: Float[np.ndarray, "runs terms params"],
    targets: Float[np.ndarray, "repeats runs"],
    theta: Float[np.ndarray, "repeats params"],
    box: Box,
) -> tuple[Float[np.ndarray, "repeats params"], Float[np.ndarray, "repeats"]]:
    """A local minimum for each repeat, and its objective; no objective ever rises.

    Levenberg–Marquardt on the weights min(1, δ/|r|), which majorise Huber's loss. A repeat is left alone once two steps
    in a row have changed nothing.
    """
    theta = np.clip(theta, box.low, box.high)
    values, slopes = evaluate(design, theta)
    residuals = values - targets
    objectives = huber(residuals).sum(-1)
    damping = np.full(len(theta), 1e-3)
    still = np.zeros(len(theta), int)
    active = np.arange(len(theta))
    for _ in range(ITERATIONS):
        tried = np.clip(theta[active] - _steps(residuals[active], slopes[active], damping[active]), box.low, box.high)
        values, tried_slopes = evaluate(design, tried)
        tried_residuals = values - targets[active]
        tried_objectives = huber(tried_residuals).sum(-1)
        before = objectives[active]
        better = tried_objectives < before
        settled = np.where(better, before - tried_objectives <= SETTLED * before, damping[active] >= LARGEST_DAMPING)
        kept = active[better]
        theta[kept], residuals[kept], slopes[kept] = tried[better], tried_residuals[better], tried_slopes[better]
        objectives[kept] = tried_objectives[better]
        damping[active] = np.clip(damping[active] * np.where(better, 1 / 5, 8), 1e-12, LARGEST_DAMPING)
        still[active] = np.where(settled, still[active] + 1, 0)
        active = active[still[active] < 2]
        if not len(active):
            break
    return theta, objectives


def _steps(residuals, slopes, damping):
    weights = np.minimum(1, DELTA / np.maximum(np.abs(residuals), 1e-300))
    weighted = slopes * weights[..., None]
    curvature = np.swapaxes(weighted, 1, 2) @ slopes
    gradient = (weighted * residuals[..., None]).sum(1)
    diagonal = np.einsum("rpp->rp", curvature)
    # The second part keeps the matrix regular where a param has no effect, as E has none far below the losses.
    extra = damping[:, None] * diagonal + 1e-14 * diagonal.max(-1, keepdims=True) + 1e-300
    return np.linalg.solve(curvature + extra[..., None] * np.eye(diagonal.shape[1]), gradient[..., None])[..., 0]


def _finish(design, target, theta, box):
    def objective(theta):
        values, slopes = evaluate(design, theta[None])
        residuals = values[0] - target
        return huber(residuals).sum(), SCALE * np.clip(residuals, -DELTA, DELTA) @ slopes[0]

    found = scipy.optimize.minimize(
        objective,
        theta,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(box.low, box.high, strict=True)),
        options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8},
    )
    return found.x if found.fun <= objective(theta)[0] else theta
