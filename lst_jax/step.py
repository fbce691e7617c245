"""One optimizer update, and one evaluation of likelihoods, as pure jitted functions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from lst_jax import objective, optim
from lst_jax.config import Config
from lst_jax.model import kernels, lst
from lst_jax.sharding import batch_sharding, per_device, replicated


class TrainState(NamedTuple):
    """All that an update reads and writes. `step` counts the updates done."""

    step: jax.Array
    params: Any
    opt_state: Any
    watch: optim.Watch


def build_model(config: Config, mesh: Mesh, row_speech_tokens: int | None = None) -> lst.Model:
    """The model of a run, with the attention kernel of the mesh's devices; `row_speech_tokens` as in `lst.build`."""
    attend = per_device(kernels.for_platform(mesh.devices.flat[0].platform), mesh)
    return lst.build(config.model, config.joint_vocab, config.data.row_units, row_speech_tokens, attend)


def init_state(config: Config, model, mesh: Mesh) -> TrainState:
    """A fresh state on the mesh, its parameters drawn from `config.seed`."""

    def init(key) -> TrainState:
        params = model.init_params(key)
        return TrainState(jnp.zeros((), jnp.int32), params, optim.init(params), optim.init_watch())

    return jax.jit(init, out_shardings=replicated(mesh))(jax.random.key(config.seed))


def put_batch(batch, mesh: Mesh):
    """Host arrays of this process's rows to global device arrays, rows split over the mesh."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def per_token_nll(config: Config, model, params, batch) -> tuple[jax.Array, jax.Array]:
    """[B, T] nats of each target, what both training and every evaluation are sums of, and `log_z` of its softmax."""
    hidden_BTE = model.hidden(params, batch.token_BT, batch.doc_id_BT, batch.patch_start_BT, batch.patch_end_BT)
    return objective.token_nll(lambda h: model.logits(params, h), hidden_BTE, batch.target_BT,
                               config.model.logits_chunk)


def make_train_step(config: Config, model, mesh: Mesh, frames_V: np.ndarray | None = None):
    """Returns `(state, batch, optim.Hyper) -> (state, metrics, verdict)`, compiled, `state` donated.

    A bad step (`optim.judge`) leaves parameters and moments as they were; it counts as a step all the same.
    One executable serves every seed, every number of `OptimConfig` and every length of a run.
    Args: `frames_V` as in `objective.modality_sums`.
    metrics: the sums of `objective.modality_sums`, `grad_norm` (before clipping), `learning_rate` of this update,
        `skipped_steps` so far. verdict: `bad`, `grad_norm`, and the rows whose loss is not finite.
    """
    def loss_fn(params, batch, hyper):
        nll_BT, log_z_BT = per_token_nll(config, model, params, batch)
        loss_BT = (nll_BT + hyper.z_loss * log_z_BT**2) * batch.weight_BT
        return jnp.sum(loss_BT) / jnp.maximum(jnp.sum(batch.weight_BT), 1.0), (nll_BT, loss_BT)

    def train_step(state: TrainState, batch, hyper: optim.Hyper):
        (loss, (nll_BT, loss_BT)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, hyper)
        norm = optax.tree.norm(grads)
        good, watch = optim.judge(hyper, state.watch, loss, norm)
        rate = optim.learning_rate(hyper, state.step)
        new = optim.update(hyper, rate, grads, state.opt_state, state.params)
        params, opt_state = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, (state.params, state.opt_state))
        metrics = objective.modality_sums(nll_BT, batch.target_BT, batch.weight_BT, config.joint_vocab, frames_V)
        metrics |= {"grad_norm": norm, "learning_rate": rate, "skipped_steps": watch.skipped}
        verdict = {"bad": ~good, "grad_norm": norm, "bad_rows_B": ~jnp.isfinite(loss_BT).all(1)}
        return TrainState(state.step + 1, params, opt_state, watch), metrics, verdict

    whole, rows = replicated(mesh), batch_sharding(mesh)
    return jax.jit(train_step, in_shardings=(whole, rows, whole), out_shardings=(whole, whole, whole), donate_argnums=0)


def make_eval_step(config: Config, model, mesh: Mesh, frames_V: np.ndarray | None = None):
    """Returns `(params, batch) -> (nll_BT in nats, objective.modality_sums)`, compiled, with training's arithmetic."""

    def eval_step(params, batch):
        nll_BT, _ = per_token_nll(config, model, params, batch)
        return nll_BT, objective.modality_sums(nll_BT, batch.target_BT, batch.weight_BT, config.joint_vocab, frames_V)

    return jax.jit(eval_step, in_shardings=(replicated(mesh), batch_sharding(mesh)), out_shardings=replicated(mesh))
