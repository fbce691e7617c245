"""One update: what it compiles to, what it refuses to apply, and that its state survives."""

import dataclasses
import functools

import jax
import numpy as np
import synthetic_data

from lst_jax import config as cfg
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.data.rows import Batch
from lst_jax.model.architectures import registry
from lst_jax.parallel.sharding import make_mesh, replicated
from lst_jax.recipes.validate import validate
from lst_jax.step import bad_steps, objective, update

MESH = make_mesh(cfg.MeshConfig(1, 2, 1), jax.devices()[:2])
ROWS, TOKENS = 4, 24


def make_config(**changes):
    """Base, two layers, four short rows; `changes` are of parts: `model={"scan_layers": True}`."""
    config = synthetic_data.make_config(
        tokens=TOKENS, units=TOKENS, rows=ROWS, text_size=60, unit_slots=20, strategy="none"
    )
    parts = {
        "model": dict(
            global_transformer=cfg.StackConfig(2, 16, 2, None),
            ffn_multiple=8,
            attention_block=32,
            logits_chunk=16,
        )
    }
    for part, fields in (*parts.items(), *changes.items()):
        if isinstance(fields, dict):
            fields = dataclasses.replace(getattr(config, part), **fields)
        config = dataclasses.replace(config, **{part: fields})
    validate(config)
    return config


def make_batch(seed, config):
    """Random tokens in one document a row; patches of one or two tokens."""
    rng = np.random.default_rng(seed)
    shape = (ROWS, TOKENS)
    token_BT, target_BT = (rng.integers(0, config.joint_vocab.size, shape).astype(np.int32) for _ in range(2))
    patch_start_BT = rng.random(shape) < 0.7
    patch_start_BT[:, :2] = True
    patch_end_BT = np.concatenate([patch_start_BT[:, 1:], np.ones((ROWS, 1), bool)], 1)
    batch = Batch(
        token_BT=token_BT,
        doc_id_BT=np.ones(shape, np.int32),
        patch_start_BT=patch_start_BT,
        patch_end_BT=patch_end_BT,
        target_BT=target_BT,
        weight_BT=np.ones(shape, np.float32),
    )
    return update.put_batch(batch, MESH)


def make_parts(config):
    """A fresh state, the compiled step and its numbers."""
    return jax.device_put(*first_state()), compiled_step(config), update.numbers_of(config)


@functools.cache
def first_state():
    """On the host, and its shardings; all configurations here have parameters of the same shapes."""
    config = make_config()
    state = update.init_state(config, update.build_model(config, MESH), MESH)
    return jax.device_get(state), jax.tree.map(lambda x: x.sharding, state)


@functools.cache
def compiled_step(config):
    """Compiled once for all tests of a configuration."""
    return update.make_train_step(config, update.build_model(config, MESH), MESH)


def test_many_batches_and_other_numbers_are_one_trace(monkeypatch):
    traces, sums = [], objective.modality_sums
    monkeypatch.setattr(objective, "modality_sums", lambda *args: traces.append(1) or sums(*args))
    config = make_config()
    compiled_step.cache_clear()  # a step that nobody has called yet
    state, train_step, numbers = make_parts(config)
    for seed in range(3):
        state, _, _ = train_step(state, make_batch(seed, config), numbers)
    other = numbers.schedule._replace(peak_lr=np.float32(0.5), steps=np.float32(17))
    train_step(state, make_batch(9, config), numbers._replace(schedule=other))
    assert len(traces) == 1


def test_a_checkpoint_of_separate_layers_goes_on_with_scanned_ones(tmp_path):
    plain, scanned = make_config(), make_config(model={"scan_layers": True})
    assert cfg.identity(plain) == cfg.identity(scanned)
    state, train_step, numbers = make_parts(plain)
    state, _, _ = train_step(state, make_batch(0, plain), numbers)
    checkpoints, data_state = Checkpoints(tmp_path, keep=1), np.zeros((ROWS, 2, 5), np.int64)
    checkpoints.save(state, data_state, {})
    checkpoints.wait()
    other_state, other_step, _ = make_parts(scanned)
    restored = checkpoints.restore(1, other_state, data_state).state
    checkpoints.close()
    for seed in (1, 2):
        state, metrics, _ = train_step(state, make_batch(seed, plain), numbers)
        restored, others, _ = other_step(restored, make_batch(seed, plain), numbers)
        for key in metrics:
            np.testing.assert_allclose(others[key], metrics[key], rtol=1e-5, err_msg=key)


def test_configurations_of_one_shape_compile_to_the_same_program():
    ours = make_config()
    theirs = make_config(
        seed=7,
        train={"steps": 99},
        optim={
            "peak_lr": 3e-4,
            "weight_decay": 0.0,
            "warmup_steps": 9,
            "beta2": 0.99,
            "z_loss": 1e-4,
            "spike_factor": 9.0,
        },
    )
    texts = []
    for config in (ours, theirs, make_config(model={"rope_theta": 1e4})):
        state, train_step, numbers = make_parts(config)
        texts.append(train_step.lower(state, make_batch(0, config), numbers).as_text())
    assert texts[0] == texts[1] != texts[2]


def copied(tree):
    """On the host: the step may take its argument's memory."""
    return jax.tree.map(np.array, tree)


def test_a_step_without_a_finite_loss_changes_nothing_but_the_counts():
    config = make_config()
    state, train_step, numbers = make_parts(config)
    state, _, verdict = train_step(state, make_batch(0, config), numbers)
    assert not verdict["bad"] and not verdict["bad_rows_B"].any()
    before, bad = copied(state), make_batch(1, config)
    bad = bad._replace(weight_BT=bad.weight_BT.at[2, 5].set(np.nan))
    state, metrics, verdict = train_step(state, bad, numbers)
    jax.tree.map(np.testing.assert_array_equal, (state.params, state.opt_state), (before.params, before.opt_state))
    assert verdict["bad"] and verdict["bad_rows_B"].tolist() == [False, False, True, False]
    assert state.step == 2 and metrics["skipped_steps"] == 1
    assert state.watch.norm_mean == before.watch.norm_mean
    state, metrics, verdict = train_step(state, make_batch(2, config), numbers)
    assert not verdict["bad"] and metrics["skipped_steps"] == 1
    assert np.isfinite(metrics["grad_norm"]) and state.opt_state.count == 2


def test_a_spike_is_skipped_only_where_asked_for():
    config = make_config()
    state, train_step, numbers = make_parts(config)

    def with_low_norms(state):  # on the mesh, like the state that the step was compiled for
        watch = bad_steps.Watch(np.float32(1e-6), np.int32(bad_steps.SPIKE_AFTER), np.int32(0))
        return state._replace(watch=jax.device_put(watch, replicated(MESH)))

    before = copied(state)
    state, _, verdict = train_step(
        with_low_norms(state), make_batch(0, config), numbers._replace(spike_factor=np.float32(10))
    )
    assert verdict["bad"] and not verdict["bad_rows_B"].any()
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
    _, _, verdict = train_step(with_low_norms(state), make_batch(0, config), numbers)
    assert not verdict["bad"]


def test_the_z_loss_pulls_the_denominators_towards_one():
    config, log_z = make_config(), {}
    model = registry.build(config.model, config.joint_vocab, config.data.row_patches)
    log_z_of = jax.jit(lambda params, batch: update.per_token_nll(config, model, params, batch)[1])
    for weight in (0.0, 1.0):
        state, train_step, numbers = make_parts(config)
        schedule = numbers.schedule._replace(peak_lr=np.float32(1e-2))
        numbers = numbers._replace(z_loss=np.float32(weight), schedule=schedule)
        for _ in range(8):
            state, _, _ = train_step(state, make_batch(0, config), numbers)
        log_z[weight] = np.abs(log_z_of(state.params, make_batch(0, config))).mean()
    assert log_z[1.0] < 0.8 * log_z[0.0]
