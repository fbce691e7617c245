"""Ends a process whose loop stands still: a collective that waits for ever, a file system that does not answer.

Nothing else would end it: a hung job costs what a training one costs. Before the process ends with code 42, on which
launchers start the job again, it writes RUN/hangs/TIME-step00000012-process0003.txt: where each of its threads stands,
the newest records, and the newest heartbeat of each process of the job.

It watches from the first compilation on: reading a checkpoint has time limits of JAX and Orbax. A library that waits without
giving Python's lock back stops this thread too: such a hang goes unseen.
"""

import contextlib
import datetime
import faulthandler
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lst_jax.config.schema import TrainConfig
from lst_jax.core.errors import RESTART_EXIT_CODE, StorageError, first_line
from lst_jax.core.leaving import exit_at_once
from lst_jax.runs import heartbeats
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import Ledger
from lst_jax.storage import objects

STEPPING = ("step", "data")  # accounts of the ledger in which a step is due
LONGER = 12  # times the limit, before the second step and for all other accounts: they take long, and say nothing
LONGEST_TICK_SEC = 10.0
TICKS = 12  # per limit
WRITE_SEC = 60.0  # the place may be what hangs
PEERS_TICKS = (
    2  # the end of one process ends the others; they see the hang within a tick, and write what they know before
)


class Watchdog(contextlib.AbstractContextManager):
    """A thread that watches the loop within its block; `train.hang_minutes` and `train.hang_factor` say how patiently."""

    def __init__(
        self,
        run: RunDirectory,
        train: TrainConfig,
        ledger: Ledger,
        recent: Sequence[Mapping[str, Any]],
        process: tuple[int, int] = (0, 1),
        leave: Callable[[int, str], Any] = exit_at_once,
    ):
        """Args: `ledger` tells what the loop does. `recent` holds the newest records.

        `process` is the number of this one, and of all of the job.
        """
        self._run, self._ledger, self._recent = run, ledger, recent
        self._minutes, self._factor = train.hang_minutes, train.hang_factor
        self._process, self._leave = process, leave
        self._ended = threading.Event()

    def __enter__(self) -> "Watchdog":
        if self._minutes is not None:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()

    def limit_sec(self) -> float:
        """How long the loop may stand still where it is now."""
        assert self._minutes is not None
        steps = list(self._ledger.step_seconds)
        limit = max(60 * self._minutes, self._factor * statistics.median(steps or [0.0]))
        # before the second step, other hosts may still be compiling the first
        return limit if steps and self._ledger.account in STEPPING else LONGER * limit

    def _watch(self) -> None:
        tick = self._tick = min(LONGEST_TICK_SEC, 60 * self._minutes / TICKS)
        seen, still = self._ledger.events, 0.0
        while not self._ended.wait(tick):
            now = self._ledger.events
            # ticks of this thread, not a clock: the time in which a person has stopped the whole process does not count
            seen, still = now, still + tick if now == seen else 0.0
            if still >= self.limit_sec():
                self._end(still, seen)

    def _end(self, still: float, seen: int) -> None:
        """Writes the file and leaves, unless the loop has gone on meanwhile."""
        index, count = self._process
        ledger = self._ledger
        what = f'process {index} of {count} stood still for {still:.0f} seconds in "{ledger.account}" after step {ledger.step}'
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        place = self._run.hangs_path / f"{stamp}-step{ledger.step:08d}-process{index:04d}.txt"
        failed = _within(WRITE_SEC, lambda: objects.write_text(place, self._told(what)))
        if count > 1:
            time.sleep(PEERS_TICKS * self._tick)
        if ledger.events != seen:
            print(f"lst: {self._run.path}: {what}, and goes on now; see {place}", file=sys.stderr)
            return
        where = f"see {place}" if failed is None else f"{place} cannot be written ({failed})"
        self._leave(RESTART_EXIT_CODE, f"lst: {self._run.path}: {what}; {where}; the same command goes on")

    def _told(self, what: str) -> str:
        """The content of the file."""
        usual = statistics.median(list(self._ledger.step_seconds) or [0.0])
        parts = {
            f"{what}. The limit was {self.limit_sec():.0f} seconds; a step usually takes {usual:.3g}.": [
                f"host {socket.gethostname()}, pid {os.getpid()}"
            ],
            "The newest heartbeat of each process of the job:": heartbeats.in_words(
                heartbeats.read(self._run.hosts_path)
            ),
            "The newest records:": [json.dumps(record) for record in list(self._recent)],
            "Where each thread of this process stands:": [stacks()],
        }
        return "\n".join(f"{title}\n{_lines(lines)}" for title, lines in parts.items())


def stacks() -> str:
    """The stack of every thread of this process, the innermost call first."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read().rstrip()


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines) or "none\n"


def _within(seconds: float, work: Callable[[], None]) -> str | None:
    """Does the work in a thread that may hang. Returns: why it was not done, or None."""
    said = ["it hangs too"]

    def go_on() -> None:
        try:
            work()
            said.clear()
        except (StorageError, OSError) as error:
            said[0] = first_line(error)

    thread = threading.Thread(target=go_on, name="hang report", daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else None
