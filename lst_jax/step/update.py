"""One optimizer update, and one evaluation of likelihoods, as pure jitted functions."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from lst_jax.config import Config
from lst_jax.core.errors import ConfigError
from lst_jax.model.architectures import registry
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.parallel import sharding
from lst_jax.step import bad_steps, objective
from lst_jax.step.optimizers.optimizer import Optimizer
from lst_jax.step.optimizers.registry import make_optimizer, optimizer_class
from lst_jax.step.schedules.registry import schedule_of


class UpdateNumbers(NamedTuple):
    """All numbers of an update: float32 scalars that are arguments of the compiled step.

    Another learning rate, run length or warm-up therefore needs no new compilation.
    """

    clip_norm: Any
    z_loss: Any
    spike_factor: Any
    optimizer: Any  # what `Optimizer.numbers` gives
    schedule: Any  # what `Schedule.numbers` gives


def numbers_of(config: Config) -> UpdateNumbers:
    """The numbers of a run's updates, on the host."""
    optim = config.optim
    return UpdateNumbers(
        np.float32(optim.clip_norm),
        np.float32(optim.z_loss),
        np.float32(optim.spike_factor),
        optimizer_class(optim).numbers(optim),
        schedule_of(optim).numbers(optim, config.train.steps),
    )


class TrainState(NamedTuple):
    """All that an update reads and writes. `step` counts the updates done."""

    step: jax.Array
    params: Any
    opt_state: Any
    watch: bad_steps.Watch


def build_model(config: Config, mesh: Mesh, training_rows: bool = False, branched: bool = False) -> Architecture:
    """The model of a run as it runs on each device of the mesh.

    Args: `training_rows`: its rows keep the bounds on speech that the stream holds training rows to, and its products are
        those of `train.matmul`; otherwise rows may be all speech, and products are plain. `branched`: rows that are not
        for training may hold documents that branch.
    """
    data = config.data
    if training_rows:
        placement = sharding.placement_for_training(mesh, config.train.matmul)
        tokens, patches = data.row_speech_tokens, data.row_speech_patches
    else:
        placement, tokens, patches = sharding.placement(mesh, branched), None, None
    return registry.build(config.model, config.joint_vocab, data.row_patches, tokens, placement, patches)


def state_around(optimizer: Optimizer, params: Any) -> TrainState:
    """The state before the first update of these parameters."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), bad_steps.init_watch())


def state_shape(config: Config, model: Architecture, mesh: Mesh) -> TrainState:
    """Shapes, types and shardings of a state; nothing is computed.

    With `train.offload_moments` the optimizer's arrays lie in the host's memory.
    """
    optimizer = make_optimizer(config.optim, mesh)
    shapes = jax.eval_shape(lambda: state_around(optimizer, model.init_params(jax.random.key(0))))
    replicated = sharding.replicated(mesh)
    shardings = TrainState(
        replicated,
        sharding.parameter_shardings(mesh, shapes.params),
        optimizer.state_sharding(shapes.opt_state, "pinned_host" if config.train.offload_moments else None),
        jax.tree.map(lambda _: replicated, shapes.watch),
    )
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)


def check_memories(config: Config, mesh: Mesh) -> None:
    """Raises: ConfigError where moments cannot be offloaded."""
    device = mesh.devices.flat[0]
    if config.train.offload_moments and (
        device.platform == "cpu" or "pinned_host" not in {memory.kind for memory in device.addressable_memories()}
    ):
        raise ConfigError(
            f"train.offload_moments=True: {device.device_kind} devices have no memory beside the host's; use False"
        )


def init_state(config: Config, model: Architecture, mesh: Mesh) -> TrainState:
    """A fresh state on the mesh, its parameters drawn from `config.seed`: the same ones for every mesh."""
    shardings = jax.tree.map(lambda x: x.sharding, state_shape(config, model, mesh))
    optimizer = make_optimizer(config.optim, mesh)
    draw = jax.jit(lambda key: state_around(optimizer, model.init_params(key)), out_shardings=shardings)
    return draw(jax.random.key(config.seed))


def state_from(config: Config, model: Architecture, mesh: Mesh, params: Any) -> TrainState:
    """A fresh state around given parameters, whose buffers it takes over: they are in memory once."""
    shardings = jax.tree.map(lambda x: x.sharding, state_shape(config, model, mesh))
    around = functools.partial(state_around, make_optimizer(config.optim, mesh))
    return jax.jit(around, out_shardings=shardings, donate_argnums=0)(params)


def put_batch(batch, mesh: Mesh):
    """Host arrays of this process's rows to global device arrays, rows split over the mesh."""
    rows = sharding.batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(rows, x), batch)


def put_whole_batch(batch, mesh: Mesh):
    """The same from host arrays of all rows, which every process has."""
    return put_batch(jax.tree.map(lambda x: x[sharding.process_rows(mesh, len(x))], batch), mesh)


def per_token_nll(config: Config, model, params, batch) -> tuple[jax.Array, jax.Array]:
    """[B, T] nats of each target, what every evaluation is sums of, and `log_z` of its softmax.

    On a mesh of several devices it is called on each of them, with its own rows and its parts of `params`.
    """
    hidden_BTE = model.hidden(params, batch.token_BT, batch.doc_id_BT, batch.patch_start_BT, batch.patch_end_BT)
    return target_nll(config, model, params, hidden_BTE, batch.target_BT)


def target_nll(config: Config, model, params, hidden_BTE, target_BT) -> tuple[jax.Array, jax.Array]:
    """`per_token_nll` of states that the model has computed already."""
    params = model.whole_output(params)
    with jax.named_scope("loss"):
        return objective.token_nll(lambda h: model.logits(params, h), hidden_BTE, target_BT, config.model.logits_chunk)


def make_gradients(config: Config, model, mesh: Mesh):
    """Returns `(params, batch, z_loss) -> (loss, grads, nll_BT, loss_BT)`; not compiled.

    Each device computes on its own rows, in `train.accumulate` equal parts one after the other, and the sums meet once.
    `loss` is the mean over the tokens of the whole batch. `loss_BT` is what it sums: weighted nats and the z-loss.
    """
    parts = config.train.accumulate

    def on_device(params, batch, z_loss):
        tokens = jnp.maximum(sharding.sum_rows(mesh, jnp.sum(batch.weight_BT)), 1.0)

        def loss_fn(params, part):
            hidden_BTE = model.hidden(params, part.token_BT, part.doc_id_BT, part.patch_start_BT, part.patch_end_BT)
            nll_BT, log_z_BT = target_nll(config, model, params, hidden_BTE, part.target_BT)
            loss_BT = (nll_BT + z_loss * log_z_BT**2) * part.weight_BT
            return jnp.sum(loss_BT) / tokens, (nll_BT, loss_BT)

        def add(sums, part):
            (loss, rows), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, part)
            return jax.tree.map(jnp.add, sums, (loss, grads)), rows

        if parts == 1:
            (loss, rows), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, batch)
        else:
            split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
            zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
            (loss, grads), rows = jax.lax.scan(add, zeros, split)
            rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
        return sharding.sum_rows(mesh, loss), sharding.sum_gradients(mesh, grads), *rows

    specs = sharding.parameter_specs(state_shape(config, model, mesh).params)
    rows, replicated = sharding.batch_sharding(mesh).spec, PartitionSpec()
    return sharding.each_device(on_device, mesh, (specs, rows, replicated), (replicated, specs, rows, rows))


def make_train_step(config: Config, model, mesh: Mesh, frames_V: np.ndarray | None = None):
    """Returns `(state, batch, UpdateNumbers) -> (state, metrics, verdict)`, compiled, `state` donated.

    A bad step (`bad_steps.judge`) leaves parameters and optimizer state as they were; it counts as a step all the same.
    One executable serves every seed, every number of `OptimConfig` and every length of a run.
    Args: `frames_V` as in `objective.modality_sums`.
    metrics: the sums of `objective.modality_sums`, `grad_norm` (before clipping), `learning_rate` of this update,
        `skipped_steps` so far. verdict: `bad`, `grad_norm`, and the rows whose loss is not finite.
    """
    gradients = make_gradients(config, model, mesh)
    shardings = jax.tree.map(lambda x: x.sharding, state_shape(config, model, mesh))
    optimizer, schedule = make_optimizer(config.optim, mesh), schedule_of(config.optim)

    def train_step(state: TrainState, batch, numbers: UpdateNumbers):
        loss, grads, nll_BT, loss_BT = gradients(state.params, batch, numbers.z_loss)
        opt_state = state.opt_state
        if config.train.offload_moments:
            opt_state = jax.tree.map(
                lambda x, s: jax.device_put(x, s.with_memory_kind("device")), opt_state, shardings.opt_state
            )
        with jax.named_scope("optimizer"):
            norm = optax.tree.norm(grads)
            good, watch = bad_steps.judge(numbers.spike_factor, state.watch, loss, norm)
            rate = schedule.rate(numbers.schedule, state.step)
            clipped, _ = optax.clip_by_global_norm(numbers.clip_norm).update(grads, optax.EmptyState())
            new = optimizer.update(numbers.optimizer, rate, clipped, opt_state, state.params)
            params, opt_state = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, (state.params, opt_state))
        metrics = objective.modality_sums(nll_BT, batch.target_BT, batch.weight_BT, config.joint_vocab, frames_V)
        metrics |= {"grad_norm": norm, "learning_rate": rate, "skipped_steps": watch.skipped}
        verdict = {"bad": ~good, "grad_norm": norm, "bad_rows_B": ~jnp.isfinite(loss_BT).all(1)}
        return TrainState(state.step + 1, params, opt_state, watch), metrics, verdict

    replicated, rows = sharding.replicated(mesh), sharding.batch_sharding(mesh)
    return jax.jit(
        train_step,
        in_shardings=(shardings, rows, replicated),
        out_shardings=(shardings, replicated, replicated),
        donate_argnums=0,
    )


def make_eval_step(config: Config, model, mesh: Mesh, frames_V: np.ndarray | None = None):
    """Returns `(params, batch) -> (nll_BT in nats, objective.modality_sums)`, compiled, with training's arithmetic."""

    def eval_step(params, batch):
        specs, rows = sharding.parameter_specs(params), sharding.batch_sharding(mesh).spec
        nll_BT = sharding.each_device(lambda p, b: per_token_nll(config, model, p, b)[0], mesh, (specs, rows), rows)(
            params, batch
        )
        return nll_BT, objective.modality_sums(nll_BT, batch.target_BT, batch.weight_BT, config.joint_vocab, frames_V)

    params = state_shape(config, model, mesh).params
    return jax.jit(
        eval_step,
        in_shardings=(jax.tree.map(lambda x: x.sharding, params), sharding.batch_sharding(mesh)),
        out_shardings=sharding.replicated(mesh),
    )
