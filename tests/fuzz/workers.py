"""Child processes that run cases, each with bounded memory; one that hangs or dies is replaced."""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator

MEMORY = 2 << 30  # bytes of address space beyond what a child has when it begins
LONGEST_SEC = 15.0  # of one case; a busy machine takes some of it
LONGEST_MESSAGE = 600
BATCH = 40  # cases that a child is given at a time
RESULT, MESSAGE, FAILED = "result", "message", "failed"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one case ended in; `what` is the failure, and `files` the smallest input found that gives it."""

    reader: str
    number: int
    kind: str
    what: str = ""
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


class Case:
    """How a reader's cases are made and run; one object per process."""

    def __init__(self, samples: pathlib.Path, seed: int):
        """`samples` is a pickle of `samples.make_all`."""
        from tests.fuzz import readers

        self.samples = pickle.loads(samples.read_bytes())
        self.samples["report"] = self.samples["run"]
        self.seed, self.readers, self.only = seed, readers.READERS, readers.ONLY
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fuzz"))

    def files(self, reader: str, number: int) -> dict[str, bytes]:
        """The input of a case, the same each time."""
        from tests.fuzz.mutations import mutated

        sample = self.samples[reader]
        names = [name for name in self.only.get(reader, sample) if not name.endswith(".md")]
        return mutated(sample, names, random.Random(f"{self.seed}/{reader}/{number}"))

    def run(self, reader: str, files: dict[str, bytes]) -> tuple[str, str]:
        """(kind, what) of this input."""
        from lst_jax.core.console import printable
        from lst_jax.core.errors import UserError

        folder = self.folder / "in"
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        try:
            with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
                self.readers[reader](folder)
        except UserError as error:
            text = printable(str(error))
            if "\n" in text or not text or len(str(error)) > LONGEST_MESSAGE:
                return FAILED, f"a message of {len(text)} characters: {text[:100]}"
            return MESSAGE, ""
        except (Exception, SystemExit) as error:  # MemoryError as well
            return FAILED, f"{type(error).__name__} at {_place(error)}"
        return RESULT, ""

    def smallest(self, reader: str, files: dict[str, bytes], what: str) -> dict[str, bytes]:
        """What differs from the sample, cut down as far as it still fails in the same way, within a second or two."""
        until, changed = time.monotonic() + 2, {n: c for n, c in files.items() if self.samples[reader].get(n) != c}
        for name in changed:
            size = len(files[name]) // 2
            while size and time.monotonic() < until:
                at, cut = 0, False
                while at < len(files[name]) and time.monotonic() < until:
                    shorter = files | {name: files[name][:at] + files[name][at + size :]}
                    if self.run(reader, shorter) == (FAILED, what):
                        files, cut = shorter, True
                    else:
                        at += size
                size = size if cut and size > 1 else size // 2
        return {name: files[name] for name in changed}


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "lst_jax" in frame.filename.split("/")[-4:]] or frames
    own = [frame for frame in frames if f"{os.sep}lst_jax{os.sep}" in frame.filename] or ours
    return f"{own[-1].filename.rpartition('/lst_jax/')[2]}:{own[-1].lineno}"


def child(pipe: multiprocessing.connection.Connection, samples: pathlib.Path, seed: int) -> None:
    """Runs batches (reader, numbers) until None comes; sends a Verdict per case."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    sys.setrecursionlimit(1000)
    case = Case(samples, seed)
    _reserve()
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send(None)
    shrunk: dict[str, int] = {}
    try:
        while batch := pipe.recv():
            reader, numbers = batch
            for number in numbers:
                pipe.send(_verdict(case, reader, number, shrunk))
    finally:
        shutil.rmtree(case.folder, ignore_errors=True)


def _reserve() -> None:
    """Lets libraries reserve their address space, which is gigabytes that nothing lies in."""
    import pyarrow.parquet

    with tempfile.TemporaryDirectory() as folder:
        pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), f"{folder}/a.parquet")
        pyarrow.parquet.read_table(f"{folder}/a.parquet")


def _verdict(case: Case, reader: str, number: int, shrunk: dict[str, int]) -> Verdict:
    files, began = case.files(reader, number), time.monotonic()
    kind, what = case.run(reader, files)
    seconds = time.monotonic() - began
    if kind != FAILED:
        return Verdict(reader, number, kind, seconds=seconds)
    shrunk[what] = shrunk.get(what, 0) + 1
    if shrunk[what] <= 3:
        files = case.smallest(reader, files, what)
    changed = {name: content for name, content in files.items() if case.samples[reader].get(name) != content}
    return Verdict(reader, number, kind, what, changed, seconds)


class Pool:
    """`jobs` children and the batches that they have."""

    def __init__(self, jobs: int, samples: pathlib.Path, seed: int):
        """Starts nothing yet."""
        self._jobs, self._samples, self._seed = jobs, samples, seed
        self._context = multiprocessing.get_context("spawn")

    def run(self, batches: Iterable[tuple[str, list[int]]]) -> Iterator[Verdict]:
        """The verdicts of all batches, in any order. A batch in which a child hangs or dies goes on after that case."""
        batches, again = iter(batches), []
        busy: dict[multiprocessing.connection.Connection, list] = {}  # pipe -> [process, reader, numbers, since]
        for _ in range(self._jobs):
            self._start(busy)
        try:
            while busy:
                ready = multiprocessing.connection.wait(list(busy), timeout=0.5)
                for pipe in ready:
                    verdict = self._received(pipe, busy, batches, again)
                    if verdict is not None:
                        yield verdict
                for entry in list(busy.values()):
                    if entry[2] and time.monotonic() - entry[3] > LONGEST_SEC:
                        entry[0].kill()
                        entry[4] = f"no end within {LONGEST_SEC:g} s"
        finally:
            for process, *_ in busy.values():
                process.kill()

    def _start(self, busy: dict) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=child, args=(theirs, self._samples, self._seed), daemon=True)
        process.start()
        theirs.close()
        busy[ours] = [process, "", [], time.monotonic(), "the process died"]

    def _received(self, pipe, busy: dict, batches: Iterator, again: list) -> Verdict | None:
        entry = busy[pipe]
        try:
            verdict = pipe.recv()
        except (EOFError, OSError):
            del busy[pipe]
            entry[0].join()
            if not entry[2]:
                raise RuntimeError(f"a child ended with {entry[0].exitcode} before its first case") from None
            number, *rest = entry[2]
            again.append((entry[1], rest))
            self._start(busy)
            return Verdict(entry[1], number, FAILED, entry[4], seconds=time.monotonic() - entry[3])
        entry[3] = time.monotonic()
        if verdict is not None:
            entry[2] = entry[2][1:]
        if not entry[2]:
            batch = next((one for one in iter(lambda: again.pop() if again else None, None) if one[1]), None)
            batch = batch or next(batches, None)
            pipe.send(batch)
            if batch is None:
                del busy[pipe]
                entry[0].join()
            else:
                entry[1], entry[2] = batch[0], list(batch[1])
        return verdict
