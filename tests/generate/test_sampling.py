"""Which tokens may be drawn, and how often they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.generate.sampling import Numbers, Sampling, sample

DRAWS = 4000
LOGITS = np.log(np.array([0.4, 0.05, 0.3, 0.15, 0.1], np.float32)) + 7  # any constant


def shares(temperature=1.0, top_k=0, top_p=1.0, logits=LOGITS):
    """How often each token is drawn, as drawn by itself `DRAWS` times."""
    keys = jax.random.split(jax.random.key(3), DRAWS)
    settings = Sampling(temperature, top_k, top_p)
    drawn = jax.jit(sample, static_argnums=3)(
        jnp.tile(jnp.asarray(logits), (DRAWS, 1)), keys, Numbers(temperature, top_k, top_p), settings.filters
    )
    return np.bincount(drawn, minlength=5) / DRAWS


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [0.4, 0.05, 0.3, 0.15, 0.1]),
        ({"temperature": 0.0}, [1, 0, 0, 0, 0]),
        ({"temperature": 0.0, "top_k": 3, "top_p": 0.1}, [1, 0, 0, 0, 0]),
        ({"temperature": 0.5}, np.array([16, 0.25, 9, 2.25, 1]) / 28.5),  # squares
        ({"top_k": 1}, [1, 0, 0, 0, 0]),
        ({"top_k": 2}, [4 / 7, 0, 3 / 7, 0, 0]),
        ({"top_k": 9}, [0.4, 0.05, 0.3, 0.15, 0.1]),
        ({"top_p": 0.3}, [1, 0, 0, 0, 0]),
        ({"top_p": 0.41}, [4 / 7, 0, 3 / 7, 0, 0]),  # the token that crosses p is kept
        ({"top_p": 0.69}, [4 / 7, 0, 3 / 7, 0, 0]),
        ({"top_p": 0.71}, np.array([0.4, 0, 0.3, 0.15, 0]) / 0.85),
        ({"top_k": 3, "top_p": 0.8}, [4 / 7, 0, 3 / 7, 0, 0]),  # p is a share of what k leaves: 0.7 / 0.85 is above it
        ({"top_k": 3, "top_p": 0.83}, np.array([0.4, 0, 0.3, 0.15, 0]) / 0.85),
    ],
)
def test_tokens_are_drawn_as_often_as_the_settings_say(settings, wanted):
    found = shares(**settings)
    np.testing.assert_allclose(found, wanted, atol=0.03)
    assert ((found > 0) == (np.array(wanted) > 0)).all()


def test_ids_at_minus_infinity_are_never_drawn_and_do_not_count():
    logits = np.where(np.arange(5) == 0, -np.inf, LOGITS)
    for settings in ({}, {"temperature": 0.0}, {"temperature": 9.0}, {"top_k": 5}, {"top_p": 0.999}):
        assert shares(logits=logits, **settings)[0] == 0
    assert shares(logits=logits, top_k=1)[2] == 1


def test_of_equal_tokens_top_k_keeps_as_many_as_it_says():
    assert (shares(logits=np.zeros(5, np.float32), top_k=2) > 0).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    "settings", [{"temperature": -1.0}, {"temperature": float("inf")}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_settings_out_of_range_are_refused_by_name(settings):
    with pytest.raises(ConfigError, match=f"{next(iter(settings))}=.*must"):
        Sampling(**settings)
