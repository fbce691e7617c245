import jax
import jax.numpy as jnp
import numpy as np

from lst_jax.step import bad_steps


def test_spikes_are_told_by_the_running_mean_and_a_lasting_rise_is_taken_in():
    norms = [1.0] * 10 + [50.0] + [1.0] * 30 + [50.0, float("nan"), 1.0] + [50.0] * 400
    watch, mean, verdicts = bad_steps.init_watch(), 0.0, []
    judge = jax.jit(bad_steps.judge)
    for n, norm in enumerate(norms):
        seen = n - (n > 42)  # without the NaN
        limit = 3.0 * mean if seen >= bad_steps.SPIKE_AFTER else float("inf")
        good, watch = judge(np.float32(3.0), watch, jnp.float32(0), jnp.float32(norm))
        verdicts.append(bool(good))
        if np.isfinite(norm):
            mean += (min(norm, limit) - mean) / min(seen + 1, bad_steps.NORM_SPAN)
        np.testing.assert_allclose(watch.norm_mean, mean, rtol=1e-3)
    assert all(verdicts[:41])  # too early to tell at the 11th
    assert verdicts[41:44] == [False, False, True] and not verdicts[44] and verdicts[-1]
    assert int(watch.skipped) == verdicts.count(False)
