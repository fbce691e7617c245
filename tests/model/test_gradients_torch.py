"""Logits, loss and the gradients of all parameters are those of a dense PyTorch model in float64. Needs torch; without
it see `test_gradients`."""

import gradient_cases
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lst_jax.bench import dense_torch  # noqa: E402


def torch_results(case, dtype=torch.float64):
    """Logits, loss and flat gradients of the oracle."""
    model, params = dense_torch.DenseModel(case.config, case.vocab), gradient_cases.make_params(case)
    params = dense_torch.to_torch(params, dtype)
    rows = dense_torch.rows_of(
        gradient_cases.make_batch(case), case.units, case.vocab, bypass=case.config.architecture == "lst_bypass"
    )
    model.loss(params, rows).backward()
    grads = {name: leaf.grad.numpy() for name, leaf in dense_torch.leaves(params).items()}
    with torch.no_grad():
        return model.logits(params, rows).numpy(), float(model.loss(params, rows)), grads


@pytest.mark.parametrize("name", gradient_cases.CASES)
def test_logits_loss_and_all_gradients_equal_those_of_the_dense_model(name):
    case = gradient_cases.CASES[name]
    logits, loss, grads = gradient_cases.jax_results(case)
    expected_logits, expected_loss, expected_grads = torch_results(case)
    assert expected_logits.dtype == np.float64
    tolerance = gradient_cases.TOLERANCE
    np.testing.assert_allclose(logits, expected_logits, rtol=0, atol=tolerance * np.abs(expected_logits).max())
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    gradient_cases.assert_gradients_equal(grads, expected_grads)
    assert all(np.abs(g).max() > 0 for path, g in expected_grads.items() if "cross_attn" not in path)


@pytest.mark.parametrize("name", gradient_cases.GOLDEN_CASES)
def test_the_golden_gradients_are_still_the_oracle_s(name):
    _, loss, grads = torch_results(gradient_cases.CASES[name])
    with np.load(gradient_cases.GOLDEN) as golden:
        assert golden[f"{name}/loss"] == pytest.approx(loss, rel=1e-12)
        for path, gradient in grads.items():
            np.testing.assert_allclose(golden[f"{name}/{path}"], gradient, rtol=1e-6, atol=1e-9, err_msg=path)
