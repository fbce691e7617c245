"""The solver of all repeats at once finds what L-BFGS finds for each alone."""

import numpy as np
import scipy.optimize

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.bench.synthetic_runs import HOFFMANN
from lst_jax.laws import law, solver


def problem(scatter, repeats):
    n, d = synthetic.iso_flop(np.geomspace(6e18, 3e21, 5), 5, 6)
    logs = np.log(np.stack([n, d], axis=-1))
    shape = law.Law(("N", "D"), ("base",), tuple(map(float, logs.mean(0))))
    truth = np.log(synthetic.loss(n, d, **HOFFMANN))
    targets = truth + scatter * np.random.default_rng(0).standard_normal((repeats, len(n)))
    return shape, shape.design(np.zeros(len(n), int), logs), targets, shape.box(truth)


def test_slopes_are_those_of_finite_differences():
    shape, design, targets, _ = problem(0.0, 1)
    theta = shape.starts(targets[0])[17:18]
    _, slopes = solver.evaluate(design, theta)
    for p in range(shape.params):
        step = 1e-6 * np.eye(shape.params)[p]
        difference = solver.evaluate(design, theta + step)[0] - solver.evaluate(design, theta - step)[0]
        np.testing.assert_allclose(slopes[0, :, p], difference[0] / 2e-6, atol=1e-8)


def test_refits_together_are_as_good_as_l_bfgs_for_each():
    """Noise of five times Huber's δ, where most residuals count by their size and not their square."""
    shape, design, targets, box = problem(0.005, 12)
    start = solver.minimise(design, targets[0], shape.starts(targets[0]), box)
    ends, objectives = solver.descend(design, targets, np.broadcast_to(start, (12, shape.params)), box)

    def objective(theta, target):
        residuals = solver.evaluate(design, theta[None])[0][0] - target
        slopes = solver.evaluate(design, theta[None])[1][0]
        return solver.huber(residuals).sum(), 1e6 * np.clip(residuals, -1e-3, 1e-3) @ slopes

    best = np.array(
        [
            min(
                scipy.optimize.minimize(
                    objective,
                    x,
                    args=(target,),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=list(zip(box.low, box.high, strict=True)),
                    options={"maxiter": 500},
                ).fun
                for x in (end, start)
            )
            for end, target in zip(ends, targets, strict=True)
        ]
    )
    assert np.mean(objectives <= best * 1.0001) > 0.9
    assert (objectives <= best * 1.01).all()
