"""The training loop: restore or start, step, record, evaluate, save, stop when told to."""

import contextlib
import dataclasses
import pathlib
import sys
import time
from typing import Any

import jax
from tqdm import tqdm

from lst_jax.checkpoints import init_from
from lst_jax.checkpoints.store import Checkpoints, SaveClock
from lst_jax.config import Config, check_same_identity, config_hash, identity
from lst_jax.core import files
from lst_jax.core.code_version import code_commit, code_digest
from lst_jax.core.errors import RESTART_EXIT_CODE, CheckpointError
from lst_jax.core.signals import StopRequest
from lst_jax.cost.peak import peak_flops
from lst_jax.data.pipeline import BatchStream, Step
from lst_jax.data.rows import BATCH_TYPES, Batch, initial_state
from lst_jax.data.unit_pieces import token_frames
from lst_jax.evals import evaluator
from lst_jax.model import lst
from lst_jax.parallel import processes, sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.metrics import MetricsWriter, missing_before
from lst_jax.step import optim, update
from lst_jax.train.recorder import Recorder


@dataclasses.dataclass
class Session:
    """The parts of a run that is open in this process."""

    config: Config
    model: lst.Model
    mesh: jax.sharding.Mesh
    stream: BatchStream
    checkpoints: Checkpoints
    state: update.TrainState
    hyper: optim.Hyper
    train_step: Any
    heldout: evaluator.Evaluator
    evaluate_first: bool  # the step that the run goes on from has lost its evaluation
    origin: pathlib.Path | None  # the other run's checkpoint that this start's parameters are from


def train(run: RunDirectory, config: Config | None, began: float | None = None) -> int:
    """Trains `config` in `run`, from its newest checkpoint if it has one. Returns the exit code.

    0: trained to the last step. 42: stopped on SIGINT or SIGTERM with everything saved; the same command goes on.
    Any later loss is the same, bit for bit, wherever and however the run was stopped. `began`: `time.monotonic()` from
    which the run's ledger counts; None = now.
    """
    began = time.monotonic() if began is None else began
    # from the start: a stop while compiling is a stop after the first step
    with StopRequest("stopping after this step, saving") as stop:
        with processes.losing_peers():
            return _train(run, config, stop, began)


def _train(run: RunDirectory, config: Config | None, stop: StopRequest, began: float) -> int:
    with contextlib.ExitStack() as held:
        return _train_alone(run, open_session(run, config, held), stop, began)


def _train_alone(run: RunDirectory, session: Session, stop: StopRequest, began: float) -> int:
    config, start, leader = session.config, int(session.state.step), processes.is_leader()
    if start >= config.train.steps and not session.evaluate_first:
        say(f"{run.path}: trained to step {start} of {config.train.steps}; nothing left to do", sys.stdout)
        return 0
    if leader:
        if missing := missing_before(run, start):
            say(missing)
        run.write_config(config)
        run.record_start(start, [str(d) for d in jax.devices()], peak_flops(), session.origin)
    if session.origin is not None:
        say(f"{run.path}: begins with the parameters of {session.origin}")
    with Ledger(run.ledger_path if leader else None, start, began) as ledger:
        recorder = Recorder(
            MetricsWriter(run, start) if leader else None,
            processes.Totals(session.mesh, config.data.rows),
            config,
            str(run.path),
        )
        try:
            if session.evaluate_first:
                say(f"{run.path}: the record of step {start}'s evaluation is missing; making it again")
                evaluate(session, recorder, ledger, start)
            finished = run_steps(session, recorder, ledger, stop)
        finally:
            recorder.close()
            session.stream.close()
            with ledger.span("checkpoint"):
                session.checkpoints.close()
    if not finished:
        say(
            f"{run.path}: stopped at step {int(session.state.step)} of {config.train.steps}, saved; "
            "run the same command to go on"
        )
        return RESTART_EXIT_CODE
    say(f"{run.path}: trained to step {config.train.steps}", sys.stdout)
    return 0


def say(line: str, where=None) -> None:
    """Prints a line once a job, to standard error where None is given."""
    if processes.is_leader():
        print(line, file=sys.stderr if where is None else where)


def open_session(run: RunDirectory, config: Config | None, held: contextlib.ExitStack) -> Session:
    """Builds everything, with the state of the newest checkpoint or a fresh one; `held` holds the run's directory.

    All processes open the same: configuration, code, data and checkpoint are compared before anything is computed.
    """
    said: dict[str, Any] = {}
    with processes.agreeing(said):
        config = run.resolve(config)
        mesh = sharding.make_mesh(config.mesh)
        sharding.check(config, mesh)
        update.check_memories(config, mesh)
        stream = BatchStream(config, sharding.process_rows(mesh, config.data.rows))
        heldout = evaluator.Evaluator(config, update.build_model(config, mesh), mesh)  # its rows may be all speech
        said |= {
            "config_hash": config_hash(config),
            "code": code_digest(),
            "jax": jax.__version__,
            "data_fingerprint": stream.fingerprint(),
        }
        if processes.is_leader():
            held.enter_context(files.alone(run.path, "lst train"))
    # Orbax meets the other processes when it opens a directory, so that none may have given up by now
    checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep, config.train.checkpoint_keep_every)
    newest = checkpoints.latest()
    evaluate_first = False
    with processes.agreeing(said):
        if newest is not None:
            check_resumable(config, stream, checkpoints, newest)
            evaluate_first = evaluation_missing(run, config, newest)
        said |= {"newest checkpoint": newest, "evaluation missing": evaluate_first}
    model = update.build_model(config, mesh, config.data.row_speech_tokens)
    origin = None
    if newest is None:
        state, origin = init_from.first_state(config, model, mesh, stream)
    else:
        with processes.agreeing({}):
            restored = checkpoints.restore(
                newest,
                update.state_shape(config, model, mesh),
                initial_state(config.data.rows, len(config.data.sources)),
            )
        state = restored.state
        stream.set_state({"step": newest, "rows": restored.data_state})
    return Session(
        config,
        model,
        mesh,
        stream,
        checkpoints,
        state,
        optim.hyper_of(config.optim, config.train.steps),
        update.make_train_step(config, model, mesh, token_frames(config)),
        heldout,
        evaluate_first,
        origin,
    )


def check_resumable(config: Config, stream: BatchStream, checkpoints: Checkpoints, newest: int) -> None:
    """Refuses a checkpoint of another configuration or other data, or of parameters alone."""
    checkpoints.check_whole(newest)
    meta = checkpoints.meta(newest)
    check_same_identity(config, meta["identity"], f"checkpoint {newest}")
    if meta["data_fingerprint"] != stream.fingerprint():
        raise CheckpointError(
            f"{checkpoints.directory}: step {newest} was trained on data "
            f"{meta['data_fingerprint']}, the sources now are {stream.fingerprint()}; restore "
            "the data, or start another run"
        )


def run_steps(session: Session, recorder: Recorder, ledger: Ledger, stop: StopRequest) -> bool:
    """The loop. Returns True at the last step, False where a stop was asked for; saved in both cases."""
    config, last = session.config, session.config.train.steps
    start = done = int(session.state.step)
    if start == last:
        return True
    progress = tqdm(
        total=last,
        initial=start,
        desc="train",
        unit="step",
        disable=not processes.is_leader(),
        mininterval=1 if sys.stderr.isatty() else 20,
    )
    progress.set_postfix_str("compiling")
    with ledger.span("compile"):
        session.train_step = compiled(session)
    progress.unpause()  # that was no step's time
    clock, votes = SaveClock(config.train.checkpoint_minutes), processes.Votes(session.mesh)
    recorder.start()
    with progress, ledger.span("step"):
        for done in range(start + 1, last + 1):
            with ledger.span("data"):
                item = next(session.stream)
            batch = update.put_batch(item.batch, session.mesh)
            session.state, metrics, verdict = session.train_step(session.state, batch, session.hyper)
            recorder.watch(done, verdict)
            to_record = done % config.train.log_every == 0 or done == last
            if to_record:
                progress.set_postfix_str(recorder.push(done, metrics, item), refresh=False)
            else:
                recorder.count(item.stats)
            progress.update()
            ledger.reached(done, to_record)
            if evaluation_due(config, done):
                evaluate(session, recorder, ledger, done)
            stopping, minutes_passed = votes.ask(stop.requested, clock.minutes_passed())
            if done % config.train.checkpoint_every == 0 or done == last or minutes_passed or stopping:
                save(session, item.state_after, recorder, ledger)
                clock.saved()
            if stopping:
                break
    recorder.flush()
    return done == last


def compiled(session: Session):
    """The train step, compiled for the shape of every batch before the first one is there."""
    shape = (session.config.data.rows, session.config.data.row_tokens)
    batch = Batch(*(jax.ShapeDtypeStruct(shape, kind) for kind in BATCH_TYPES))
    return session.train_step.lower(session.state, batch, session.hyper).compile()


def evaluation_due(config: Config, done: int) -> bool:
    """Whether the step has an evaluation."""
    return done > 0 and (done % config.eval.every == 0 or done == config.train.steps)


def evaluation_missing(run: RunDirectory, config: Config, done: int) -> bool:
    """Whether the step's evaluation is due but has no record: it was removed, or could not be written."""
    return evaluation_due(config, done) and not any(
        r["kind"] == "eval" and r["step"] == done for r in run.read_metrics()
    )


def evaluate(session: Session, recorder: Recorder, ledger: Ledger, done: int) -> None:
    """Evaluates what the step has left, behind its own records."""
    recorder.flush()  # waits for the step, which is not the evaluation's time
    with ledger.span("evaluation"):
        recorder.evaluation(done, session.heldout.run(session.state.params))


def save(session: Session, data_state, recorder: Recorder, ledger: Ledger) -> None:
    """Starts a save, after every record up to this step is on the disk: a resume then has no gap."""
    recorder.flush()
    with ledger.span("checkpoint"):
        recorder.sync()
        ledger.sync()
        data_state = processes.whole_rows(session.mesh, data_state, session.config.data.rows)
        session.checkpoints.save(
            session.state,
            data_state,
            {
                "identity": identity(session.config),
                "config_hash": config_hash(session.config),
                "data_fingerprint": session.stream.fingerprint(),
                "vocabulary": session.stream.vocabulary(),
                "commit": code_commit(),
            },
        )


def rebuild_batch(path: str, done: int) -> Step:
    """The batch of the update number `done` (from 1) of the run in `path`, made again from its data."""
    run = RunDirectory(path)
    config = run.load_config()
    checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep)
    stream = BatchStream(config, prefetch=0)
    before = checkpoints.before(done)
    if before is not None:
        like = initial_state(config.data.rows, len(config.data.sources))
        stream.set_state({"step": before, "rows": checkpoints.restore_data_state(before, like)})
    checkpoints.close()
    for _ in range((before or 0) + 1, done):
        next(stream)
    return next(stream)
