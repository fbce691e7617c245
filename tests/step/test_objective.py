import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lst_jax.core.vocab import Vocab
from lst_jax.step import objective

VOCAB = Vocab(text_size=10, unit_slots=6)


def make_case(rng_seed, T=11):
    rng = np.random.default_rng(rng_seed)
    hidden_BTE = jnp.asarray(rng.normal(size=(2, T, 5)), jnp.float32)
    weight_EV = jnp.asarray(rng.normal(size=(5, VOCAB.size)), jnp.float32)
    target_BT = jnp.asarray(rng.integers(0, VOCAB.size, (2, T)), jnp.int32)
    return hidden_BTE, weight_EV, target_BT


def dense_nll(hidden_BTE, weight_EV, target_BT):
    logp_BTV = jax.nn.log_softmax(hidden_BTE @ weight_EV, axis=-1)
    return -jnp.sum(logp_BTV * jax.nn.one_hot(target_BT, VOCAB.size), axis=-1)


@pytest.mark.parametrize("chunk", [1, 11, *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in (4, 64))])
def test_chunked_likelihood_and_its_gradients_equal_the_dense_ones(chunk):
    hidden_BTE, weight_EV, target_BT = make_case(0)

    def chunked(hidden_BTE, weight_EV):
        return objective.token_nll(lambda h: h @ weight_EV, hidden_BTE, target_BT, chunk)[0]

    np.testing.assert_allclose(chunked(hidden_BTE, weight_EV), dense_nll(hidden_BTE, weight_EV, target_BT), rtol=2e-6)
    ours = jax.grad(lambda *a: chunked(*a).sum(), argnums=(0, 1))(hidden_BTE, weight_EV)
    theirs = jax.grad(lambda *a: dense_nll(*a, target_BT).sum(), argnums=(0, 1))(hidden_BTE, weight_EV)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_sums_fall_to_the_modality_of_the_target():
    target_BT = jnp.array([[VOCAB.unit_offset, 3, VOCAB.text_marker, VOCAB.speech_marker, 2, VOCAB.size - 1]])
    nll_BT = jnp.array([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]])
    weight_BT = jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]])
    sums = objective.modality_sums(nll_BT, target_BT, weight_BT, VOCAB)
    assert {k: float(v) for k, v in sums.items()} == {
        "nll_text": 18.0,
        "count_text": 2.0,
        "nll_speech": 1.0,
        "count_speech": 1.0,
        "nll_marker": 12.0,
        "count_marker": 2.0,
        "frames_speech": 1.0,
    }


def test_frames_are_those_of_the_scored_speech_targets():
    frames_V = np.zeros(VOCAB.size, np.float32)
    frames_V[VOCAB.unit_offset :] = [1, 3, 7, 2, 1, 9]
    target_BT = VOCAB.unit_offset + jnp.array([[1, 1, 2, -1, -VOCAB.unit_offset], [5, 3, 0, -2, 2]])
    weight_BT = jnp.array([[1.0, 1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.0]])
    sums = objective.modality_sums(jnp.ones((2, 5)), target_BT, weight_BT, VOCAB, frames_V)
    assert (float(sums["frames_speech"]), float(sums["count_speech"])) == (3 + 3 + 2 + 1, 4)
    ones_V = np.asarray(VOCAB.is_speech(np.arange(VOCAB.size)), np.float32)
    for one, other in ((None, 4.0), (ones_V, 4.0)):
        sums = objective.modality_sums(jnp.ones((2, 5)), target_BT, weight_BT, VOCAB, one)
        assert float(sums["frames_speech"]) == other == float(sums["count_speech"])


def test_summary_gives_bits_per_second_of_speech():
    sums = {
        "nll_text": 0.0,
        "count_text": 0.0,
        "nll_speech": 8 * objective.LN2,
        "count_speech": 4.0,
        "frames_speech": 4.0,
        "nll_marker": 0.0,
        "count_marker": 1.0,
    }
    summary = objective.summarize(sums, unit_rate=25.0)
    assert summary["bits_per_second_speech"] == pytest.approx(50.0)
    assert "bits_per_text_token" not in summary
    assert summary["loss"] == pytest.approx(8 * objective.LN2 / 5)
    longer = objective.summarize(sums | {"frames_speech": 10.0}, unit_rate=25.0)  # the same bits over 0.4 seconds
    assert longer["bits_per_second_speech"] == pytest.approx(8 / 0.4) and longer["loss"] == summary["loss"]


def test_the_softmax_s_denominator_comes_with_it():
    hidden_BTE, weight_EV, target_BT = make_case(1)
    log_z_BT = objective.token_nll(lambda h: h @ weight_EV, hidden_BTE, target_BT, 4)[1]
    np.testing.assert_allclose(log_z_BT, np.log(np.exp(np.asarray(hidden_BTE @ weight_EV)).sum(-1)), rtol=1e-5)
