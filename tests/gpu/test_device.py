"""What an accelerator must show before it is trained on: its kernels in bfloat16, a run of 50 steps, and its resumption.

LST_TESTS_ON=gpu pytest tests/gpu      on a machine with a GPU (make test-gpu); elsewhere all of it is skipped
LST_TESTS_ON=cpu pytest tests/gpu      the same with the CPU's kernel, to see that only the GPU is new

Without the variable the kernels are tested on what is there, and the run is left out.
"""

import dataclasses
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_run import make_config, make_data

from lst_jax.config import MeshConfig, StackConfig
from lst_jax.model import kernels
from lst_jax.model.rotary import rope
from lst_jax.runs.directory import RunDirectory
from lst_jax.train import loop

WANTED = os.environ.get("LST_TESTS_ON", jax.default_backend())
pytestmark = pytest.mark.skipif(
    jax.default_backend() != WANTED, reason=f"no {WANTED} here: JAX computes on {jax.default_backend()}"
)
only_when_asked_for = pytest.mark.skipif(
    "LST_TESTS_ON" not in os.environ, reason="two minutes; see the top of the file"
)
ROWS, TOKENS, HEADS, WIDTH = 2, 1024, 4, 64
THETA = 10_000.0  # of the rotation, which is the kernel's part
STEPS = 50


def packed_documents():
    """Documents of very different lengths, 7 to 400 tokens, and padding behind them."""
    doc_BT = np.zeros((ROWS, TOKENS), np.int32)
    for row, lengths in zip(doc_BT, ((7, 400, 64, 65, 300), (256, 1, 128, 511)), strict=True):
        edges = np.cumsum(lengths)
        row[: edges[-1]] = np.searchsorted(edges, np.arange(edges[-1]), "right") + 1
    return doc_BT


def dense(q_BTHK, k_BTHK, v_BTHK, doc_BT, window):
    """Rotation, and the mask rule as one [T, T] mask and one softmax, in float32; padding gives zeros."""
    q_BTHK, k_BTHK = rope(q_BTHK, THETA), rope(k_BTHK, THETA)
    gap_TT = np.arange(TOKENS)[:, None] - np.arange(TOKENS)
    seen_BTT = (doc_BT[:, :, None] == doc_BT[:, None]) & (doc_BT != 0)[:, :, None]
    seen_BTT = seen_BTT & (gap_TT >= 0) & (gap_TT < (window or TOKENS))
    s_BHTT = jnp.einsum("bshk,brhk->bhsr", q_BTHK, k_BTHK, precision="highest") * WIDTH**-0.5
    p_BHTT = jnp.where(seen_BTT[:, None], jnp.exp(s_BHTT - s_BHTT.max(-1, keepdims=True)), 0)
    p_BHTT = p_BHTT / jnp.maximum(p_BHTT.sum(-1, keepdims=True), 1e-30)
    return jnp.einsum("bhsr,brhk->bshk", p_BHTT, v_BTHK, precision="highest")


@pytest.mark.parametrize("window", [None, 100])
def test_the_kernel_in_bfloat16_is_the_dense_mask_forward_and_backward(window):
    rng, doc_BT = np.random.default_rng(0), packed_documents()
    arrays = [jnp.asarray(rng.standard_normal((ROWS, TOKENS, HEADS, WIDTH)), jnp.bfloat16) for _ in range(4)]
    *qkv, cotangent = arrays
    kernel = kernels.for_platform(WANTED)

    @jax.jit
    def ours(q, k, v, cotangent):
        out, pullback = jax.vjp(lambda *qkv: kernel(*qkv, jnp.asarray(doc_BT), THETA, window, 128), q, k, v)
        return out, pullback(cotangent)

    @jax.jit
    def theirs(q, k, v, cotangent):
        out, pullback = jax.vjp(lambda *qkv: dense(*qkv, doc_BT, window), q, k, v)
        return out, pullback(cotangent)

    if WANTED == "gpu":  # and not the blocked kernel in its place
        assert "fmha" in ours.lower(*arrays).compile().as_text()
    found, wanted = ours(*qkv, cotangent), theirs(*(a.astype(jnp.float32) for a in arrays))
    for name, got, want in zip("oqkv", jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        got, want = np.asarray(got, np.float32), np.asarray(want)
        assert np.isfinite(got).all(), name
        assert np.abs(got - want).max() < 2e-2 * np.abs(want).max(), name
        assert not got[doc_BT == 0].any(), name


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The tiny run of the other tests in bfloat16, with heads as cuDNN takes them."""
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    config = make_config(folder, steps=STEPS, checkpoint_every=25, log_every=5)
    local = StackConfig(1, 64, 2, 32)
    model = dataclasses.replace(
        config.model,
        compute_dtype="bfloat16",
        patch_encoder=local,
        global_transformer=StackConfig(2, 128, 2, None),
        patch_decoder=local,
        cross_heads=2,
    )
    optim = dataclasses.replace(config.optim, peak_lr=1e-2, warmup_steps=5)
    return dataclasses.replace(config, model=model, optim=optim, mesh=MeshConfig(1, 1, 1))


def learned(run):
    """Loss by step."""
    return {r["step"]: r["loss"] for r in run.read_metrics() if "loss" in r}


@only_when_asked_for
def test_fifty_steps_learn_and_a_resumed_run_goes_on_where_it_was(config, tmp_path):
    whole, broken = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "broken")
    assert loop.train(whole, config) == 0
    losses = learned(whole)
    assert max(losses) == STEPS and losses[STEPS] < 0.9 * losses[min(losses)]
    shutil.copytree(whole.path, broken.path)
    shutil.rmtree(max(broken.checkpoints_path.iterdir()))  # as if the run had been killed in the save of its last step
    assert loop.train(broken, None) == 0
    again = learned(broken)
    assert again.keys() == losses.keys()
    assert all(abs(again[step] - losses[step]) < 2e-2 * losses[step] for step in losses)
