"""The training loop: restore or start, step, record, evaluate, save, stop when told to."""

import contextlib
import sys
import time
from collections.abc import Iterator

import jax
from tqdm import tqdm

from lst_jax.checkpoints.store import Checkpoints, SaveClock
from lst_jax.config import Config, config_hash, identity
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import RESTART_EXIT_CODE
from lst_jax.core.signals import StopRequest
from lst_jax.cost.peak import peak_flops
from lst_jax.data.pipeline import BatchStream, Step
from lst_jax.data.rows import BATCH_TYPES, Batch, initial_state
from lst_jax.parallel import processes
from lst_jax.parallel.host_times import HostTimes
from lst_jax.runs import heartbeats
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.lines import NoLines
from lst_jax.runs.metrics import MetricsWriter, missing_before
from lst_jax.runs.trackers import registry
from lst_jax.step import update
from lst_jax.train.profiles import Profiles, harmless_signal
from lst_jax.train.recorder import Recorder
from lst_jax.train.session import Session, evaluation_due, open_session
from lst_jax.train.watchdog import Watchdog


def train(run: RunDirectory, config: Config | None, began: float | None = None) -> int:
    """Trains `config` in `run`, from its newest checkpoint if it has one. Returns the exit code.

    0: trained to the last step. 42: stopped on SIGINT or SIGTERM with everything saved; the same command goes on.
    Losses are the same to the last bit, wherever and however the run was stopped.
    Args: `began` is the `time.monotonic()` from which the run's ledger counts; None = now.
    """
    began = time.monotonic() if began is None else began
    with contextlib.ExitStack() as held:
        # first of all: a stop while compiling is a stop after the first step
        stop = held.enter_context(StopRequest("stopping after this step, saving"))
        held.enter_context(harmless_signal())
        held.enter_context(processes.peer_loss_as_error())
        session = open_session(run, config, held)
        config, start = session.config, int(session.state.step)
        if start >= config.train.steps and not session.evaluate_first:
            say(f"{run.path}: trained to step {start} of {config.train.steps}; nothing left to do", sys.stdout)
            return 0
        record_start(run, session, start)
        lines = run.ledger_lines(session.claim) if processes.is_leader() else NoLines()
        ledger = held.enter_context(Ledger(lines, start, began))
        recorder = make_recorder(run, session, start)
        profiles = held.enter_context(watch_over(run, session, ledger, recorder, start))
        held.callback(close, session, recorder, ledger)
        if session.evaluate_first:
            say(f"{run.path}: the record of step {start}'s evaluation is missing; making it again")
            evaluate(session, recorder, ledger, start)
        finished = run_steps(session, recorder, ledger, stop, profiles)
    if finished:
        say(f"{run.path}: trained to step {config.train.steps}", sys.stdout)
        return 0
    stopped = f"stopped at step {int(session.state.step)} of {config.train.steps}, saved"
    say(f"{run.path}: {stopped}; run the same command to go on")
    return RESTART_EXIT_CODE


def run_steps(session: Session, recorder: Recorder, ledger: Ledger, stop: StopRequest, profiles: Profiles) -> bool:
    """The loop. Returns True at the last step, False where a stop was asked for; saved in both cases."""
    config, last = session.config, session.config.train.steps
    start = done = int(session.state.step)
    if start == last:
        return True
    progress = make_progress(start, last)
    with ledger.span("compile"):  # for the shape of every batch, before the first one is there
        lowered = session.train_step.lower(session.state, batch_shapes(config), session.numbers)
        train_step = lowered.compile(compiler_options=session.compiler_options)
    progress.unpause()  # compiling took no step's time
    clock, flags = SaveClock(config.train.checkpoint_minutes), processes.SharedFlags(session.mesh)
    recorder.start()
    with progress, ledger.span("step"):
        for done in range(start + 1, last + 1):
            with profiles.around(done):
                item, metrics, verdict = start_step(session, train_step, recorder, ledger)
            recorder.watch(done, verdict)
            if done == start + 1:
                jax.block_until_ready(verdict)
                ledger.first_step(done, session.programs.now())
            to_record = done % config.train.log_every == 0 or done == last
            if to_record:
                progress.set_postfix_str(recorder.push(done, metrics, item), refresh=False)
            else:
                recorder.count(item.stats)
            progress.update()
            ledger.reached(done, to_record)
            profiles.reached(done, verdict)
            if evaluation_due(config, done):
                evaluate(session, recorder, ledger, done)
            stopping, minutes_passed, profiling = flags.report(
                stop.requested, clock.minutes_passed(), profiles.take_request()
            )
            if profiling:
                profiles.ask(done)
            if done % config.train.checkpoint_every == 0 or done == last or minutes_passed or stopping:
                save(session, item.state_after, recorder, ledger)
                clock.saved()
            if stopping:
                break
    recorder.flush()
    return done == last


def start_step(session: Session, train_step, recorder: Recorder, ledger: Ledger):
    """Starts the next step on the devices. Returns: what the stream gave for it, its metrics and its verdict."""
    began = time.perf_counter()
    with ledger.span("data"):
        item = next(session.stream)
    batch = update.put_batch(item.batch, session.mesh)
    session.state, metrics, verdict = train_step(session.state, batch, session.numbers)
    recorder.worked(time.perf_counter() - began)
    return item, metrics, verdict


@contextlib.contextmanager
def watch_over(
    run: RunDirectory, session: Session, ledger: Ledger, recorder: Recorder, start: int
) -> Iterator[Profiles]:
    """Within the block: the watchdog, the heartbeats of a job, and the profiler, which it gives."""
    index, count, train = jax.process_index(), jax.process_count(), session.config.train
    with contextlib.ExitStack() as held:
        if processes.is_leader():
            heartbeats.forget(run.hosts_path, count if count > 1 else 0)
        if count > 1:
            held.enter_context(heartbeats.Heartbeats(run.hosts_path, index, ledger))
        held.enter_context(Watchdog(run, train, ledger, recorder.recent, (index, count)))
        yield held.enter_context(Profiles(run.profiles_path, train, start))


def say(line: str, where=None) -> None:
    """Prints a line once per job, to standard error where `where` is None."""
    if processes.is_leader():
        print(line, file=sys.stderr if where is None else where)


def record_start(run: RunDirectory, session: Session, start: int) -> None:
    """Writes the configuration and the line of this start."""
    if processes.is_leader():
        if session.origin is None and (missing := missing_before(run, start)):
            say(missing)
        run.write_config(session.config)
        devices = [str(d) for d in jax.devices()]
        if line := changed_devices(run, session, len(devices)):
            say(line)
        run.record_start(start, devices, peak_flops(), session.origin, session.compiler_options, session.claim)
    for line in session.refused_options:
        say(f"{run.path}: {line}")
    if session.origin is not None and session.config.train.branch_from is not None:
        say(f"{run.path}: goes on from {session.origin}")
    elif session.origin is not None:
        say(f"{run.path}: begins with the parameters of {session.origin}")


def changed_devices(run: RunDirectory, session: Session, devices: int) -> str | None:
    """One line about a job that goes on with another number of devices than the start before; None where it does not."""
    starts = [start for start in run.read_starts() if isinstance(start.get("devices"), list)]
    if not starts or len(starts[-1]["devices"]) == devices:
        return None
    sizes, rows = session.mesh.shape, session.config.data.rows
    each = rows // (sizes["replica"] * sizes["data"])
    return (
        f"{run.path}: goes on with {devices} devices instead of {len(starts[-1]['devices'])}, and the same batch of {rows} rows: "
        f"{each} per device, {each // session.parts} at a time in {session.parts} part(s) (train.rows_at_once="
        f"{session.config.train.rows_at_once})"
    )


def make_recorder(run: RunDirectory, session: Session, start: int) -> Recorder:
    """The recorder of this start; only the leader's writes."""
    writer = None
    if processes.is_leader():
        writer = MetricsWriter(run, start, session.claim, registry.open_all(run.path, session.config))
    return Recorder(
        writer,
        processes.RowTotals(session.mesh, session.config.data.rows),
        session.config,
        str(run.path),
        HostTimes(session.mesh) if jax.process_count() > 1 else None,
    )


def make_progress(start: int, last: int) -> tqdm:
    """The progress bar of a run, shown by the leader."""
    progress = tqdm(
        total=last,
        initial=start,
        desc="train",
        unit="step",
        disable=not processes.is_leader(),
        mininterval=1 if sys.stderr.isatty() else 20,
    )
    progress.set_postfix_str("compiling")
    return progress


def batch_shapes(config: Config) -> Batch:
    """Shapes and types of every batch."""
    shape = (config.data.rows, config.data.row_tokens)
    return Batch(*(jax.ShapeDtypeStruct(shape, kind) for kind in BATCH_TYPES))


def evaluate(session: Session, recorder: Recorder, ledger: Ledger, done: int) -> None:
    """Evaluates the parameters that the step has left, behind the step's own records."""
    recorder.flush()  # waits for the step, which is not the evaluation's time
    with ledger.span("evaluation"):
        recorder.evaluation(done, session.heldout.run(session.state.params))


def save(session: Session, data_state, recorder: Recorder, ledger: Ledger) -> None:
    """Starts a save, after every record up to this step is on the disk, so that a resumed run has no gap."""
    recorder.flush()
    with ledger.span("checkpoint"):
        recorder.sync()
        ledger.sync()
        data_state = processes.gather_rows(session.mesh, data_state, session.config.data.rows)
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


def close(session: Session, recorder: Recorder, ledger: Ledger) -> None:
    """Closes what the loop wrote to and read from; waits for the last save."""
    recorder.close()
    session.stream.close()
    with ledger.span("checkpoint"):
        session.checkpoints.close()


def rebuild_batch(path: str, done: int) -> Step:
    """The batch of the update number `done` (from 1) of the run in `path`, made again from its data."""
    run = RunDirectory(path)
    config = run.load_config()
    stream = BatchStream(config, prefetch=0)
    with Checkpoints(run.checkpoints_path, config.train.checkpoint_keep) as checkpoints:
        before = checkpoints.before(done)
        if before is not None:
            like = initial_state(config.data.rows, len(config.data.sources))
            stream.set_state({"step": before, "rows": checkpoints.restore_data_state(before, like)})
    for _ in range((before or 0) + 1, done):
        next(stream)
    return next(stream)
