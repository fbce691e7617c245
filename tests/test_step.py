"""One update: what it compiles to, what it refuses to apply, and that its state survives."""

import dataclasses

import jax
import numpy as np
import synthetic_data

from lst_jax import config as cfg
from lst_jax import step
from lst_jax.checkpoint import Checkpoints
from lst_jax.data.rows import Batch
from lst_jax.model import lst
from lst_jax.optim import make_optimizer
from lst_jax.sharding import make_mesh

MESH = make_mesh(jax.devices()[:2])
ROWS, TOKENS = 4, 24


def make_config(**changes):
    """Two layers in each stack, four short rows; `changes` are of parts: `model={"scan_layers": True}`."""
    config = synthetic_data.make_config(tokens=TOKENS, units=TOKENS, rows=ROWS, text_size=60, unit_slots=20)
    local = cfg.StackConfig(2, 16, 2, 8)
    parts = {"model": dict(patch_encoder=local, patch_decoder=local, global_transformer=cfg.StackConfig(2, 16, 2, None),
                           ffn_multiple=8, attention_block=32, logits_chunk=16)}
    for part, fields in (*parts.items(), *changes.items()):
        if isinstance(fields, dict):
            fields = dataclasses.replace(getattr(config, part), **fields)
        config = dataclasses.replace(config, **{part: fields})
    cfg.validate(config)
    return config


def make_batch(seed, config):
    """Random tokens in one document a row; patches of one or two tokens."""
    rng = np.random.default_rng(seed)
    shape = (ROWS, TOKENS)
    token_BT, target_BT = (rng.integers(0, config.joint_vocab.size, shape).astype(np.int32) for _ in range(2))
    patch_start_BT = rng.random(shape) < 0.7
    patch_start_BT[:, :2] = True
    patch_end_BT = np.concatenate([patch_start_BT[:, 1:], np.ones((ROWS, 1), bool)], 1)
    batch = Batch(token_BT=token_BT, doc_id_BT=np.ones(shape, np.int32), patch_start_BT=patch_start_BT,
                  patch_end_BT=patch_end_BT, target_BT=target_BT, weight_BT=np.ones(shape, np.float32))
    return step.put_batch(batch, MESH)


def make_parts(config):
    """A fresh state and the compiled step."""
    model = lst.build(config.model, config.joint_vocab, config.data.row_units)
    optimizer = make_optimizer(config.optim, config.train.steps)
    return (step.init_state(config, model, optimizer, MESH), step.make_train_step(config, model, optimizer, MESH))


def test_a_checkpoint_of_separate_layers_goes_on_with_scanned_ones(tmp_path):
    plain, scanned = make_config(), make_config(model={"scan_layers": True})
    assert cfg.identity(plain) == cfg.identity(scanned)
    state, train_step = make_parts(plain)
    state, _ = train_step(state, make_batch(0, plain))
    checkpoints, data_state = Checkpoints(tmp_path, keep=1), np.zeros((ROWS, 2, 5), np.int64)
    checkpoints.save(state, data_state, {})
    checkpoints.wait()
    other_state, other_step = make_parts(scanned)
    restored = checkpoints.restore(1, other_state, data_state).state
    checkpoints.close()
    for seed in (1, 2):
        state, metrics = train_step(state, make_batch(seed, plain))
        restored, others = other_step(restored, make_batch(seed, plain))
        for key in metrics:
            np.testing.assert_allclose(others[key], metrics[key], rtol=1e-5, err_msg=key)
