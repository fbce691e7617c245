"""Opening a run in this process: configuration, data, model, and the state to go on from."""

import contextlib
import dataclasses
from typing import Any

import jax

from lst_jax.checkpoints import branch_from, init_from, one_replica
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config, check_same_identity, config_hash
from lst_jax.core.code_version import code_digest
from lst_jax.core.errors import CheckpointError
from lst_jax.cost import compiler_options
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.rows import initial_state
from lst_jax.data.unit_pieces import token_frames
from lst_jax.evals import evaluator
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.parallel import processes, sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.trackers import registry
from lst_jax.step import update
from lst_jax.storage.claim import Claim
from lst_jax.storage.place import Place
from lst_jax.train import programs


@dataclasses.dataclass
class Session:
    """The parts of a run that is open in this process."""

    config: Config
    model: Architecture
    mesh: jax.sharding.Mesh
    stream: BatchStream
    checkpoints: Checkpoints
    state: update.TrainState
    numbers: update.UpdateNumbers
    train_step: Any
    compiler_options: dict[str, bool | str]  # of XLA, for the train step
    refused_options: list[str]  # a line about each that this compiler does not know
    heldout: evaluator.Evaluator
    evaluate_first: bool  # the step that the run goes on from is due an evaluation that has no record
    origin: Place | None  # the other run's checkpoint that this run begins from, at its very first start
    claim: Claim | None  # of the leader, on a run whose lines are in segments
    programs: programs.Counts
    parts: int  # of a batch, which each device computes one after the other


def open_session(run: RunDirectory, config: Config | None, held: contextlib.ExitStack) -> Session:
    """Builds everything around the newest checkpoint's state, or around a first state where there is no checkpoint.

    All processes open the same: configuration, code, data and checkpoint are compared before anything is computed.
    Args: `held` keeps the run's directory locked until it is closed.
    """
    facts: dict[str, Any] = {}
    claim = None
    with processes.barrier(facts):
        config = run.resolve(config)
        mesh = sharding.make_mesh(config.mesh)
        in_parts = sharding.in_parts(config, mesh)
        update.check_memories(config, mesh)
        if config.train.restore_one_replica:
            one_replica.check(mesh)
        stream = BatchStream(config, sharding.process_rows(mesh, config.data.rows))
        options, refused = compiler_options.options_of(config.train.compiler_options, mesh.local_devices[0])
        heldout = evaluator.Evaluator(config, update.build_model(config, mesh), mesh)  # its rows may be all speech
        facts |= {
            "config_hash": config_hash(config),
            "code": code_digest(),
            "jax": jax.__version__,
            "data_fingerprint": stream.fingerprint(),
            "compiler options": compiler_options.in_words(options),
        }
        if processes.is_leader():
            registry.names_of(config.train.trackers)
            claim = held.enter_context(run.locked("lst train"))
    compiled = held.enter_context(programs.kept(run.compiled_path, config.train))
    # Orbax meets the other processes when it opens a directory: it must come behind the barrier, where none gives up
    checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep, config.train.checkpoint_keep_every)
    newest = checkpoints.latest()
    evaluate_first = False
    with processes.barrier(facts):
        if newest is not None:
            check_resumable(config, stream, checkpoints, newest)
            evaluate_first = evaluation_missing(run, config, newest)
        facts |= {"newest checkpoint": newest, "evaluation missing": evaluate_first}
    model = update.build_model(config, mesh, training_rows=True)
    state, origin = state_to_go_on_from(config, model, mesh, stream, checkpoints, newest)
    train_step = update.make_train_step(in_parts, model, mesh, token_frames(config))
    numbers = update.numbers_of(config)
    return Session(
        config,
        model,
        mesh,
        stream,
        checkpoints,
        state,
        numbers,
        train_step,
        options,
        refused,
        heldout,
        evaluate_first,
        origin,
        claim,
        compiled,
        in_parts.train.accumulate,
    )


def state_to_go_on_from(
    config: Config,
    model: Architecture,
    mesh: jax.sharding.Mesh,
    stream: BatchStream,
    checkpoints: Checkpoints,
    newest: int | None,
) -> tuple[update.TrainState, Place | None]:
    """The state of the run's own newest checkpoint, else of its trunk, else a first one; sets the stream beside it.

    Returns: also the other run's checkpoint that the state is from, if it is from one.
    """
    if newest is not None:
        with processes.barrier({}):
            like = update.state_shape(config, model, mesh)
            rows = initial_state(config.data.rows, len(config.data.sources))
            saved = checkpoints.restore(newest, like, rows, config.train.restore_one_replica)
        stream.set_state({"step": newest, "rows": saved.data_state})
        return saved.state, None
    if config.train.branch_from is not None:
        trunk = branch_from.branch(config, model, mesh, stream)
        stream.set_state({"step": int(trunk.state.step), "rows": trunk.data_state})
        return trunk.state, trunk.origin
    return init_from.initial_state(config, model, mesh, stream)


def check_resumable(config: Config, stream: BatchStream, checkpoints: Checkpoints, newest: int) -> None:
    """Refuses a checkpoint of another configuration or of other data, or one that holds parameters alone."""
    checkpoints.check_whole(newest)
    meta = checkpoints.meta(newest)
    check_same_identity(config, meta["identity"], f"checkpoint {newest}")
    if meta["data_fingerprint"] != stream.fingerprint():
        raise CheckpointError(
            f"{checkpoints.directory}: step {newest} was trained on data "
            f"{meta['data_fingerprint']}, the sources now are {stream.fingerprint()}; restore "
            "the data, or start another run"
        )


def evaluation_due(config: Config, done: int) -> bool:
    """Whether an evaluation follows this step."""
    return done > 0 and (done % config.eval.every == 0 or done == config.train.steps)


def evaluation_missing(run: RunDirectory, config: Config, done: int) -> bool:
    """Whether the step is due an evaluation that has no record: it was removed, or could not be written."""
    return evaluation_due(config, done) and not any(
        r["kind"] == "eval" and r["step"] == done for r in run.read_metrics()
    )
