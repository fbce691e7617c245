"""The training loop: restore or start, step, record, evaluate, save, stop when told to."""

import contextlib
import dataclasses
import json
import signal
import sys
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from lst_jax import objective, optim, sharding, step
from lst_jax.checkpoint import Checkpoints, SaveClock
from lst_jax.config import Config, check_same_identity, config_hash, identity
from lst_jax.data.patching import aligned_probability
from lst_jax.data.pipeline import BatchStream, Step
from lst_jax.data.rows import CONSUMED, MEASURED, Batch, initial_state
from lst_jax.data.unit_pieces import token_frames
from lst_jax.errors import RESTART_EXIT_CODE, BadStepError, CheckpointError
from lst_jax.evals import evaluator
from lst_jax.ledger import Ledger
from lst_jax.model import lst
from lst_jax.run_dir import MetricsWriter, RunDirectory, code_commit
from lst_jax.scaling.flops import model_flops
from lst_jax.scaling.peak import peak_flops


@dataclasses.dataclass
class Session:
    """The parts of a run that is open in this process."""

    config: Config
    model: lst.Model
    mesh: jax.sharding.Mesh
    stream: BatchStream
    checkpoints: Checkpoints
    state: step.TrainState
    hyper: optim.Hyper
    train_step: Any
    heldout: evaluator.Evaluator


def train(run: RunDirectory, config: Config | None, began: float | None = None) -> int:
    """Trains `config` in `run`, from its newest checkpoint if it has one. Returns the exit code.

    0: trained to the last step. 42: stopped on SIGINT or SIGTERM with everything saved; the same command goes on.
    Any later loss is the same, bit for bit, wherever and however the run was stopped. `began`: `time.monotonic()` from
    which the run's ledger counts; None = now.
    """
    began = time.monotonic() if began is None else began
    with StopRequest() as stop:  # from the start: a stop while compiling is a stop after the first step
        return _train(run, run.resolve(config), stop, began)


def _train(run: RunDirectory, config: Config, stop: "StopRequest", began: float) -> int:
    session = open_session(run, config)
    start = int(session.state.step)
    evaluate_first = evaluation_missing(run, config, start)
    if start >= config.train.steps and not evaluate_first:
        print(f"{run.path}: trained to step {start} of {config.train.steps}; nothing left to do")
        return 0
    run.write_config(config)
    run.record_start(start, [str(d) for d in jax.devices()], peak_flops())
    with Ledger(run.ledger_path, start, began) as ledger:
        recorder = Recorder(MetricsWriter(run, start), config, str(run.path))
        try:
            if evaluate_first:
                print(f"{run.path}: the record of step {start}'s evaluation is missing; making it again",
                      file=sys.stderr)
                evaluate(session, recorder, ledger, start)
            finished = run_steps(session, recorder, ledger, stop)
        finally:
            recorder.close()
            session.stream.close()
            with ledger.span("checkpoint"):
                session.checkpoints.close()
    if not finished:
        print(f"{run.path}: stopped at step {int(session.state.step)} of {config.train.steps}, saved; "
              "run the same command to go on", file=sys.stderr)
        return RESTART_EXIT_CODE
    print(f"{run.path}: trained to step {config.train.steps}")
    return 0


def open_session(run: RunDirectory, config: Config) -> Session:
    """Builds everything, with the state of the newest checkpoint or a fresh one."""
    mesh = sharding.make_mesh(config.mesh)
    sharding.check(config, mesh)
    stream = BatchStream(config)
    model = step.build_model(config, mesh, config.data.row_speech_tokens)
    heldout = step.build_model(config, mesh)  # its rows may be all speech
    checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep, config.train.checkpoint_keep_every)
    newest = checkpoints.latest()
    if newest is None:
        state = step.init_state(config, model, mesh)
    else:
        meta = checkpoints.meta(newest)
        check_same_identity(config, meta["identity"], f"checkpoint {newest}")
        if meta["data_fingerprint"] != stream.fingerprint():
            raise CheckpointError(f"{run.checkpoints_path}: step {newest} was trained on data "
                                  f"{meta['data_fingerprint']}, the sources now are {stream.fingerprint()}; restore "
                                  "the data, or start another run")
        like = step.state_shape(config, model, mesh)
        restored = checkpoints.restore(newest, like, initial_state(config.data.rows, len(config.data.sources)))
        state = restored.state
        stream.set_state({"step": newest, "rows": restored.data_state})
    return Session(config, model, mesh, stream, checkpoints, state, optim.hyper_of(config.optim, config.train.steps),
                   step.make_train_step(config, model, mesh, token_frames(config)),
                   evaluator.Evaluator(config, heldout, mesh))


def run_steps(session: Session, recorder: "Recorder", ledger: Ledger, stop: "StopRequest") -> bool:
    """The loop. Returns True at the last step, False where a stop was asked for; saved in both cases."""
    config, last = session.config, session.config.train.steps
    start = done = int(session.state.step)
    if start == last:
        return True
    progress = tqdm(total=last, initial=start, desc="train", unit="step", mininterval=1 if sys.stderr.isatty() else 20)
    progress.set_postfix_str("compiling")
    with ledger.span("compile"):
        session.train_step = compiled(session)
    progress.unpause()  # that was no step's time
    clock = SaveClock(config.train.checkpoint_minutes)
    recorder.start()
    with progress, ledger.span("step"):
        for done in range(start + 1, last + 1):
            with ledger.span("data"):
                item = next(session.stream)
            batch = step.put_batch(item.batch, session.mesh)
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
            stopping, minutes_passed = stop.requested, clock.minutes_passed()  # by this process's own clock
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
    kinds = (np.int32, np.int32, np.float32, np.int32, np.bool_, np.bool_)
    batch = Batch(*(jax.ShapeDtypeStruct(shape, kind) for kind in kinds))
    return session.train_step.lower(session.state, batch, session.hyper).compile()


def evaluation_due(config: Config, done: int) -> bool:
    """Whether the step has an evaluation."""
    return done > 0 and (done % config.eval.every == 0 or done == config.train.steps)


def evaluation_missing(run: RunDirectory, config: Config, done: int) -> bool:
    """Whether the step's evaluation is due but has no record: it was removed, or could not be written."""
    return evaluation_due(config, done) and not any(r["kind"] == "eval" and r["step"] == done
                                                    for r in run.read_metrics())


def evaluate(session: Session, recorder: "Recorder", ledger: Ledger, done: int) -> None:
    """Evaluates what the step has left, behind its own records."""
    recorder.flush()  # waits for the step, which is not the evaluation's time
    with ledger.span("evaluation"):
        recorder.evaluation(done, session.heldout.run(session.state.params))


def save(session: Session, data_state, recorder: "Recorder", ledger: Ledger) -> None:
    """Starts a save, after every record up to this step is written: a resume then has no gap."""
    recorder.flush()
    with ledger.span("checkpoint"):
        session.checkpoints.save(session.state, data_state, {
            "identity": identity(session.config), "config_hash": config_hash(session.config),
            "data_fingerprint": session.stream.fingerprint(), "commit": code_commit()})


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


def evaluate_run(run: RunDirectory, as_json: bool) -> int:
    """Evaluates the newest checkpoint of a run and prints the numbers."""
    config = run.load_config()
    checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep)
    newest = checkpoints.latest()
    if newest is None:
        raise CheckpointError(f"{run.checkpoints_path}: holds no checkpoint; train first with lst train {run.path}")
    mesh = sharding.make_mesh(config.mesh)
    sharding.check(config, mesh)
    model = step.build_model(config, mesh)
    params = checkpoints.restore_params(newest, step.state_shape(config, model, mesh).params)
    values = {"step": newest, **evaluator.Evaluator(config, model, mesh).run(params)}
    print(json.dumps(values) if as_json else evaluator.table(values))
    return 0


class Recorder:
    """Metrics of each step, read from the device one record late: the host never waits for the step it started."""

    def __init__(self, writer: MetricsWriter, config: Config, run: str):
        self._writer = writer
        self._config = config
        self._run = run
        self._pending = None
        self._watched: list[tuple[int, dict[str, Any]]] = []
        self._peak, _ = peak_flops()
        self.start()

    def start(self) -> None:
        """Starts the clock of the throughput figures."""
        self._clock, self._tokens, self._units, self._flops, self._steps = time.perf_counter(), 0, 0, 0.0, 0

    def count(self, stats: dict[str, Any]) -> None:
        """Adds a step's work to the throughput since the last record."""
        self._tokens += int(stats["tokens"])
        self._units += int(stats["units"])
        self._flops += sum(model_flops(self._config.model, self._config.joint_vocab, stats).values())
        self._steps += 1

    def watch(self, done: int, verdict: dict[str, Any]) -> None:
        """Keeps a step's verdict, on the device, for the next flush."""
        self._watched.append((done, verdict))

    def push(self, done: int, metrics: dict[str, Any], item: Step) -> str:
        """Hands over a step's metrics, writes those handed over before, and returns a word for the progress bar."""
        newest = self._watched.pop()  # the step that has just been started
        shown = self.flush()
        self._watched.append(newest)
        self.count(item.stats)
        self._pending = (done, metrics, item)
        return shown

    def flush(self) -> str:
        """Writes what is pending and what was bad; waits for those steps. Raises: BadStepError, if it is to halt."""
        shown = self._write_pending() if self._pending else ""
        watched, self._watched = self._watched, []
        for done, verdict in jax.device_get(watched):
            if verdict["bad"]:
                self._bad_step(int(done), verdict)
        return shown

    def _bad_step(self, done: int, verdict: dict[str, Any]) -> None:
        rows, norm = np.flatnonzero(verdict["bad_rows_B"]).tolist(), float(verdict["grad_norm"])
        if rows:
            reason = f"the loss is not finite in row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))}"
        elif not np.isfinite(norm):
            reason = "the gradient norm is not finite, though every loss is"
        else:
            reason = f"the gradient norm {norm:.4g} is over optim.spike_factor={self._config.optim.spike_factor} " \
                     "times its running mean"
        self._writer.write(done, "bad", {"reason": reason, "rows": rows})
        if self._config.train.bad_step == "halt":
            raise BadStepError(
                f"{self._run}: step {done}: {reason}; look at its batch, lst_jax.train.rebuild_batch({self._run!r}, "
                f'{done}), or go on without it: train.bad_step="skip"')

    def _write_pending(self) -> str:
        done, metrics, item = self._pending
        self._pending = None
        metrics = {k: float(v) for k, v in jax.device_get(metrics).items()}
        summary = objective.summarize(metrics, self._config.data.unit_rate)
        seconds = time.perf_counter() - self._clock
        values = summary | {
            "grad_norm": metrics["grad_norm"], "learning_rate": metrics["learning_rate"],
            "skipped_steps": int(metrics["skipped_steps"]),
            **data_metrics(self._config, item),
            "seconds_per_step": seconds / max(self._steps, 1), "tokens_per_second": self._tokens / seconds,
            "units_per_second": self._units / seconds}
        if self._peak:
            values["mfu"] = self._flops / seconds / self._peak
        self._writer.write(done, "train", values)
        self.start()
        return f"loss {summary['loss']:.3f}"

    def evaluation(self, done: int, values: dict[str, Any]) -> None:
        """Writes an evaluation's record behind the step's own; its time does not count as training."""
        self.flush()
        self._writer.write(done, "eval", values)
        self.start()

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()


def data_metrics(config: Config, item: Step) -> dict[str, Any]:
    """What the data path counted for a batch, as people read it; shares are of `data.mixture_measure`, so far."""
    data, stats = config.data, item.stats
    names = [source.name for source in data.sources]
    measured_S = item.state_after[:, :, MEASURED].sum(0)
    total = max(int(measured_S.sum()), 1)
    return {
        "tokens": int(stats["tokens"]), "units": int(stats["units"]),
        "tokens_so_far": int(item.state_after[:, :, CONSUMED].sum()),
        "token_fill": int(stats["tokens"]) / (data.rows * data.row_tokens),
        "unit_fill": int(stats["units"]) / (data.rows * data.row_units),
        "mean_patch_frames": int(stats["speech_frames"]) / max(int(stats["speech_patches"]), 1),
        "aligned_probability": aligned_probability(item.step, data.patching),
        **{key: int(stats[key]) for key in ("utterances_opened", "utterances_aligned", "pieces", "pieces_cut",
                                            "speech_cut", "words_cut", "patches_split", "markers_repeated")},
        **{f"share/{name}": int(measured) / total for name, measured in zip(names, measured_S, strict=True)}}


class StopRequest(contextlib.AbstractContextManager):
    """Notes SIGINT and SIGTERM, so that the loop stops after the step at hand; a second one interrupts at once."""

    def __init__(self):
        self.requested = False

    def __enter__(self):
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"\n{signal.Signals(number).name}: stopping after this step, saving (again to stop at once)",
              file=sys.stderr)
