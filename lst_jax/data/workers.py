"""Rows made by several processes of one host, for models that take more tokens than one core makes (`data.workers`).

Each worker makes the same rows of every step, as a row is a function of its own state alone. The parent puts the parts
together in the order of rows. So steps and states are those of one process, whatever the number of workers.

Grain's own workers (`mp_prefetch`) are not used: each holds a state of its own, so a state would only restore with the
same number of workers, and they deal in whole batches, one worker each.
"""

import contextlib
import multiprocessing.connection
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lst_jax.config import Config
from lst_jax.core.environment import SINGLE_THREAD
from lst_jax.core.errors import ConfigError, PeerError, UserError, first_line
from lst_jax.core.signals import STOP_SIGNALS
from lst_jax.data.patching import STRATEGIES, Strategy, register
from lst_jax.data.row_streams import RowStreams
from lst_jax.data.rows import Batch, add_stats, initial_state
from lst_jax.data.sources import RecordSource
from lst_jax.data.steps import Step, StepMaker
from lst_jax.data.text import load_tokenizer

COMMAND = "from lst_jax.data.workers import main; main()"
END_SEC = 2.0  # in which a worker whose parent has let go of it ends by itself


class Work(NamedTuple):
    """What a worker is told at its start."""

    config: Config
    strategy: type[Strategy]  # also one that is registered in the parent alone
    sources: list[RecordSource]
    rows: Sequence[int]


class Restart(NamedTuple):
    """Make steps from this state on. Answers carry the number of the restart, so that earlier ones can be told."""

    number: int
    state: dict[str, Any]


class Answer(NamedTuple):
    """A step of a worker's rows, or why there is none: the worker waits for a restart then."""

    restart: int
    step: Step | None
    error: Exception | None


class Worker:
    """One process. Its input is the line by which it is told, and knows that its parent lives."""

    def __init__(self):
        """Starts it. It waits for its `Work`."""
        ours, theirs = multiprocessing.Pipe()
        # Not `multiprocessing`, which would import the parent's main module, and not a fork: JAX has threads.
        paths = os.pathsep.join(path for path in sys.path if path)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=os.environ | SINGLE_THREAD | {"PYTHONPATH": paths},
            )
        self.line = ours

    def end(self) -> None:
        """Lets go of the process, which then ends."""
        self.line.close()
        self.process.stdin.close()

    def wait(self) -> int:
        """Waits until the process has ended. Returns: its exit code, or minus the signal's number."""
        try:
            return self.process.wait(END_SEC)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class WorkerSteps:
    """Makes steps as `StepMaker` does, by several processes that run ahead of it."""

    def __init__(self, config: Config, sources: list[RecordSource], rows: Sequence[int], workers: int):
        """Starts at most `workers` processes, one per row at most, at step 0.

        Raises: ConfigError where a patching strategy of the run cannot be imported by another process.
        """
        self._rows = rows
        self._step, self._state = 0, initial_state(len(rows), len(sources))
        self._parts = np.array_split(np.arange(len(rows)), min(workers, len(rows)))
        self._restarts, self._broken = 0, False
        strategy = STRATEGIES[config.data.patching.strategy]
        try:
            works = [pickle.dumps(Work(config, strategy, sources, [rows[i] for i in part])) for part in self._parts]
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"data.workers={workers}: {first_line(error)}: other processes cannot import it; define it in a module "
                "that can be imported by its name, or use 0"
            ) from error
        self._workers: list[Worker] = []
        self._finalizer = weakref.finalize(self, _end, self._workers)
        self._workers.extend(Worker() for _ in works)
        for number, work in enumerate(works):
            try:
                self._workers[number].line.send_bytes(work)
            except OSError as error:
                raise self._gone(number) from error
        self.set_state(self.get_state())

    def make(self) -> Step:
        """The next step, when all workers have made their rows of it.

        Raises: what making a row raises, and the step is tried again then; PeerError where a worker is gone.
        """
        if self._broken:
            self.set_state(self.get_state())
        parts = [self._part(number) for number in range(len(self._workers))]
        batch = Batch(*[np.concatenate(column) for column in zip(*[part.batch for part in parts], strict=True)])
        assert {part.step for part in parts} == {self._step}, parts
        self._step, self._state = self._step + 1, np.concatenate([part.state_after for part in parts])
        return Step(self._step - 1, batch, add_stats([part.stats for part in parts]), self._state.copy())

    def get_state(self) -> dict[str, Any]:
        """As of `StepMaker`, after the last step that was handed out."""
        return {"step": self._step, "rows": self._state.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from a `get_state` of any number of workers."""
        self._step, self._state = int(state["step"]), np.array(state["rows"], np.int64)
        self._restarts, self._broken = self._restarts + 1, False
        for number, (worker, part) in enumerate(zip(self._workers, self._parts, strict=True)):
            try:
                worker.line.send(Restart(self._restarts, {"step": self._step, "rows": self._state[part]}))
            except OSError as error:
                raise self._gone(number) from error

    def close(self) -> None:
        """Ends the workers."""
        self._finalizer()

    def _part(self, number: int) -> Step:
        """The worker's rows of the next step."""
        while True:
            try:
                answer: Answer = self._workers[number].line.recv()
            except (EOFError, OSError) as error:
                raise self._gone(number) from error
            if answer.restart != self._restarts:
                continue  # of before the state was set
            if answer.error is not None:
                self._broken = True
                raise answer.error
            return answer.step

    def _gone(self, number: int) -> PeerError:
        worker = self._workers[number]
        worker.end()
        code = worker.wait()
        how = f"ended with code {code}, see above"
        if code < 0:
            how = f"was ended by signal {-code} ({signal.Signals(-code).name}), perhaps for want of memory"
        return PeerError(
            f"data.workers={len(self._workers)}: worker {number}, process {worker.process.pid}, {how}; run the same "
            "command again, with fewer workers if that happens again"
        )


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.wait()


def main() -> None:
    """What a worker's process does, until its parent is gone or lets go of it."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent decides when to stop; a terminal signals all processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError), multiprocessing.connection.Connection(int(sys.argv[1])) as line:
        _serve(line)
    os._exit(0)  # without waiting for reads that are under way


def _end_with_parent() -> None:
    """Ends this process at once when its input is closed, which a parent's death does too."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _serve(line: multiprocessing.connection.Connection) -> None:
    work: Work = pickle.loads(line.recv_bytes())
    if work.strategy is not STRATEGIES.get(work.strategy.name):
        register(work.strategy)
    streams = RowStreams(work.config, work.sources, load_tokenizer(work.config.data.tokenizer))
    maker = StepMaker(work.config, streams, work.rows)
    restart, waits = 0, True
    while True:
        while waits or line.poll():
            restart, state = line.recv()
            maker.set_state(state)
            waits = False
        try:
            answer = Answer(restart, maker.make(), None)
        except UserError as error:
            answer, waits = Answer(restart, None, error), True
        line.send(answer)
