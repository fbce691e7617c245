"""Loss and the gradients of all parameters are the recorded ones of a dense float64 model (`test_gradients_torch`)."""

import gradient_cases
import numpy as np
import pytest


# test_attention.py has the gradients of windows
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * ("window" in name)) for name in gradient_cases.GOLDEN_CASES],
)
def test_loss_and_all_gradients_equal_the_golden_ones(name):
    _, loss, grads = gradient_cases.jax_results(gradient_cases.CASES[name])
    with np.load(gradient_cases.GOLDEN) as golden:
        expected = {k.removeprefix(f"{name}/"): golden[k] for k in golden.files if k.startswith(f"{name}/")}
    assert loss == pytest.approx(float(expected.pop("loss")), rel=gradient_cases.TOLERANCE)
    gradient_cases.assert_gradients_equal(grads, expected)
