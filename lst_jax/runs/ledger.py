"""Where a run's wall time went, over all of its starts: the file RUN/ledger.jsonl, and the sums over its lines.

Exactly one account runs at any time of a start, so that the accounts of a start add up to its wall time:

    start        from the process's start to the first step, and all time that belongs to no other account
    compile      compiling the train step; smaller programs count as start, those of the evaluation as evaluation
    data         the host waits for the next batch; the device may be busy meanwhile
    step         the rest of the loop: steps, and writing their records
    checkpoint   the loop waits for a save
    evaluation   held-out evaluation, with the compilation of its programs
    lost         not in the file: the step and data time of steps that a later start had to do again

The first line of a start is {"kind": "start", "time": when its process began, "step": the step it goes on from}. Its
other lines are {"kind": "spent", "time": now, "step": the last step done, "seconds": {account: since the last line}}.
A line of the kind "first_step" tells how long the start took until its first step was done, and which programs it did not
have to compile (`lst_jax.train.programs`): {"kind": "first_step", …, "seconds": {}, "first_step_sec": 41.2, …}.
A new line begins where a save begins, so that a later start loses whole lines only. A killed start lacks the time
after its last line, about ten seconds. That time counts as down, as does the time between starts; neither is wall time.

Example: a start did steps 1 to 5 and was killed after the save of step 3; the next one went on from there:
    {"kind": "start", "time": "2026-11-21T12:00:00.000+00:00", "step": 0}
    {"kind": "spent", "time": "2026-11-21T12:00:09.000+00:00", "step": 3, "seconds": {"start": 6.0, "step": 3.0}}
    {"kind": "spent", "time": "2026-11-21T12:00:11.000+00:00", "step": 5, "seconds": {"step": 2.0}}
    {"kind": "start", "time": "2026-11-21T12:01:00.000+00:00", "step": 3}
    -> the first start: start 6, step 3, lost 2 seconds; 49 seconds down before the second
"""

import collections
import contextlib
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lst_jax.core import json_files
from lst_jax.core.errors import DataError, StorageError, UserError
from lst_jax.runs.lines import Lines, read_file
from lst_jax.storage.place import Place

ACCOUNTS = {
    "start": "starting",
    "compile": "compiling",
    "step": "steps that counted",
    "data": "waiting for data",
    "evaluation": "evaluating",
    "checkpoint": "saving",
    "lost": "lost: steps that were done again",
}
NEEDED = {"kind": str, "time": str, "step": int}  # fields of every line
REDONE = ("step", "data")  # the accounts that are lost when a later start does a step again
EVERY_SEC = 10.0  # a line is written at least this often, between steps
LEAST_SEC = 1e-3  # less time than this waits for the next line
STEPS_REMEMBERED = 101  # whose median is the usual time of a step
FIRST_STEP = "first_step"  # a kind of line


class Ledger(contextlib.AbstractContextManager):
    """Writes the lines of one start.

    A line that cannot be written raises StorageError at the end, unless another error ends the start.
    """

    def __init__(self, lines: Lines, step: int, began: float, clock: Callable[[], float] = time.monotonic):
        """Writes the first line.

        Args: `step` is the one that the start goes on from. `began` is what `clock()` was when the process began.
        """
        self._clock, self._began, self.step = clock, began, step
        self.account, self._since, self._written = "start", began, began
        self.events = 0  # how often the account or the step has changed; a watchdog counts on it
        self.step_seconds: collections.deque[float] = collections.deque(maxlen=STEPS_REMEMBERED)
        self._reached_at: float | None = None
        self._seconds: dict[str, float] = {}
        self._failed: UserError | None = None
        self._lines = lines
        lines.add({"kind": "start", "time": _stamp(clock() - began), "step": step})
        self.write()

    @contextlib.contextmanager
    def span(self, account: str) -> Iterator[None]:
        """The time within counts for `account`, except that of inner spans. Each account but "data" begins a line."""
        assert account in ACCOUNTS, account
        outer = self.account
        self._switch(account)
        try:
            yield
        finally:
            self._switch(outer)

    def reached(self, step: int, record: bool = False) -> None:
        """Notes that `step` is done. Writes a line if the step has a `record`, or the last line is old."""
        now = self._clock()
        if self._reached_at is not None:
            self.step_seconds.append(now - self._reached_at)
        self.step, self._reached_at, self.events = step, now, self.events + 1
        if record or now - self._written >= EVERY_SEC:
            self.write()

    def first_step(self, step: int, facts: Mapping[str, Any]) -> None:
        """Writes the line about a start whose first step, `step`, the devices have just done."""
        self.write()
        seconds = round(self._clock() - self._began, 3)
        self._add({"kind": FIRST_STEP, "step": step, "seconds": {}, "first_step_sec": seconds, **facts})

    def write(self) -> None:
        """Writes the time since the last line, by account."""
        self._settle()
        self._written = self._since
        if self._failed or sum(self._seconds.values()) < LEAST_SEC:
            return
        seconds = {account: round(sec, 4) for account, sec in self._seconds.items() if sec >= 5e-5}
        self._seconds = {}
        self._add({"kind": "spent", "step": self.step, "seconds": seconds})

    def _add(self, line: Mapping[str, Any]) -> None:
        if self._failed:
            return
        try:
            self._lines.add({"kind": line["kind"], "time": _stamp(), **line})
        except StorageError as error:
            self._failed = error

    def sync(self) -> None:
        """Returns when the lines are kept, so that a power cut leaves them."""
        if not self._failed:
            try:
                self._lines.keep()
            except StorageError as error:
                self._failed = error

    def __exit__(self, kind, error, traceback) -> None:
        self.write()
        try:
            self._lines.close()
        except UserError as failed:
            self._failed = self._failed or failed
        if self._failed and error is None:
            raise self._failed

    def _switch(self, account: str) -> None:
        if "data" not in (account, self.account):
            self.write()
        self._settle()
        self.account, self.events = account, self.events + 1

    def _settle(self) -> None:
        now = self._clock()
        self._seconds[self.account] = self._seconds.get(self.account, 0.0) + now - self._since
        self._since = now


@dataclasses.dataclass(frozen=True)
class Start:
    """One start of a run: its seconds by account, and the seconds before it in which nothing ran.

    `first_step` is what the line of that kind says of it: `first_step_sec`, and counts of programs; None without a step.
    """

    time: str
    from_step: int
    to_step: int
    seconds: dict[str, float]
    down_sec: float
    first_step: dict[str, Any] | None = None


def read(path: Place) -> list[dict[str, Any]]:
    """The lines of a ledger; none where there is no file. Raises: DataError where one is damaged."""
    return checked(read_file(path, NEEDED), str(path))


def checked(lines: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The lines of the ledger `name`, which have the fields `NEEDED`. Raises: DataError where one is damaged."""
    for number, line in enumerate(lines, 1):
        where, fix = f"{name}: line {number}", "remove the line"
        try:
            zone = datetime.datetime.fromisoformat(line["time"]).tzinfo
        except ValueError:
            zone = None
        if zone is None:
            raise DataError(f"{where}: time must be an ISO time with its zone; {fix}")
        if line["kind"] != "start":
            json_files.check_fields(line, {"seconds": dict}, where, fix)
            known = line["seconds"].keys() <= ACCOUNTS.keys()
            if not known or not all(0 <= s < 1e12 for s in line["seconds"].values() if isinstance(s, (int, float))):
                raise DataError(f"{where}: seconds must be of the accounts {', '.join(ACCOUNTS)}; {fix}")
            json_files.check_fields(line["seconds"], dict.fromkeys(line["seconds"], float), f"{where}: seconds", fix)
    return lines


def split(lines: list[dict[str, Any]]) -> list[Start]:
    """The starts of a run from the lines of its ledger; see the module's example."""
    opened = [i for i, line in enumerate(lines) if line["kind"] == "start"]
    starts = []
    for first, end in zip(opened, [*opened, len(lines)][1:], strict=True):
        spent = lines[first + 1 : end]
        kept = min(
            (lines[i]["step"] for i in opened if i >= end), default=None
        )  # the last step that no later start did again
        seconds = dict.fromkeys(ACCOUNTS, 0.0)
        for line in spent:
            lost = kept is not None and line["step"] > kept
            for account, sec in line["seconds"].items():
                seconds["lost" if lost and account in REDONE else account] += sec
        time_, step = lines[first]["time"], lines[first]["step"]
        starts.append(
            Start(
                time_,
                step,
                spent[-1]["step"] if spent else step,
                seconds,
                max(0.0, _seconds_between(lines[first - 1]["time"], time_)) if first else 0.0,
                next((_told(line) for line in spent if line["kind"] == FIRST_STEP), None),
            )
        )
    return starts


def _told(line: dict[str, Any]) -> dict[str, Any]:
    """The numbers that only a line of the kind `FIRST_STEP` has."""
    return {
        key: value
        for key, value in line.items()
        if key not in (*NEEDED, "seconds") and isinstance(value, (int, float)) and abs(value) < json_files.LARGEST
    }


def summarize(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums over the whole run. `goodput` is the share of the wall time that went into steps that counted."""
    starts = split(lines)
    seconds = {account: sum(start.seconds[account] for start in starts) for account in ACCOUNTS}
    wall = sum(seconds.values())
    return {
        "wall_sec": wall,
        "goodput": seconds["step"] / wall if wall else 0.0,
        "seconds": seconds,
        "down_sec": sum(start.down_sec for start in starts),
        "starts": [dataclasses.asdict(start) for start in starts],
    }


def in_words(seconds: float) -> str:
    """A duration in two units.

    Example: 3.21 -> "3.2 s", 723 -> "12 min 3 s", 18720 -> "5 h 12 min", 187200 -> "2 d 4 h"
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    large, small, size, of_large = (
        ("min", "s", 1, 60) if seconds < 3600 else ("h", "min", 60, 60) if seconds < 86400 else ("d", "h", 3600, 24)
    )
    count = round(seconds / size)
    return f"{count // of_large} {large} {count % of_large} {small}"


def _stamp(seconds_ago: float = 0.0) -> str:
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
    return now.isoformat(timespec="milliseconds")


def _seconds_between(earlier: str, later: str) -> float:
    parse = datetime.datetime.fromisoformat
    return (parse(later) - parse(earlier)).total_seconds()
