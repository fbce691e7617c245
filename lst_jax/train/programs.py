"""Compiled programs of a run, kept so that a later start, on any host, does not compile them again.

JAX has a cache of compiled programs, which it keeps in a folder. This module gives JAX a folder whose files go through
`lst_jax.storage`. So a program is written whole or not at all, and a damaged one counts as missing. A bucket that
does not answer costs one line and no run. Process 0 of a job writes, as JAX does it, and all read.

    RUN/compiled/jax-0.10.2-tpu-v5p/jit_train_step-<JAX's key>-cache    SHA-256 of what follows, then JAX's own content

A program is code: whoever may write into the folder decides what the run computes. The folder may be removed at any time.
"""

import contextlib
import hashlib
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath
from jax.experimental.compilation_cache import compilation_cache

from lst_jax.config.schema import TrainConfig
from lst_jax.core.errors import StorageError, first_line
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

IN_THE_RUN = "run"  # the value of `train.compilation_cache`
SCHEME = "lst-programs://"
LEAST_COMPILE_SEC = 0.1  # a program that compiles faster is not kept: in a bucket, reading it takes as long
DIGEST_BYTES = 32
CPU_INFO = pathlib.Path("/proc/cpuinfo")
HIT, MISS = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"
SAVED, COMPILED = "/jax/compilation_cache/compile_time_saved_sec", "/jax/core/compile/backend_compile_duration"


class Counts(contextlib.AbstractContextManager):
    """Counts, within its block, what JAX compiles and what it finds compiled."""

    def __enter__(self) -> "Counts":
        self._found = self._compiled = 0
        self._saved_sec = self._compile_sec = 0.0
        jax.monitoring.register_event_listener(self._event)
        jax.monitoring.register_event_duration_secs_listener(self._duration)
        return self

    def __exit__(self, *exception) -> None:
        jax.monitoring.unregister_event_listener(self._event)
        jax.monitoring.unregister_event_duration_listener(self._duration)

    def now(self) -> dict[str, float]:
        """So far: programs that were found, and about how long compiling them took; those compiled anew to be kept; and
        the seconds that went into compiling and into reading compiled programs.
        """
        return {
            "programs_found": self._found,
            "programs_compiled": self._compiled,
            "compile_sec": round(self._compile_sec, 3),
            "compile_sec_saved": round(self._saved_sec, 3),
        }

    def _event(self, name: str, **_: Any) -> None:
        self._found += name == HIT
        self._compiled += name == MISS

    def _duration(self, name: str, seconds: float, **_: Any) -> None:
        if name == SAVED:
            self._saved_sec += max(0.0, seconds)
        elif name == COMPILED:
            self._compile_sec += seconds


@contextlib.contextmanager
def kept(own: Place, train: TrainConfig) -> Iterator[Counts]:
    """Keeps the programs that are compiled within the block, and takes those that are there; gives their counts.

    Args: `own` is RUN/compiled. JAX_COMPILATION_CACHE_DIR, where it is set, takes its place.
    """
    chosen = train.compilation_cache
    settings: dict[str, Any] = {}
    if chosen is None:
        settings = {"jax_enable_compilation_cache": False}
    elif chosen != IN_THE_RUN or not jax.config.values["jax_compilation_cache_dir"]:
        folder = own if chosen == IN_THE_RUN else to_place(chosen)
        settings = {
            "jax_compilation_cache_dir": f"{SCHEME}{_absolute(folder / machine_name())}",
            "jax_persistent_cache_min_compile_time_secs": LEAST_COMPILE_SEC,
            "jax_persistent_cache_enable_xla_caches": "none",  # XLA would write files of its own there
        }
    before = {name: jax.config.values[name] for name in settings}
    _configure(settings)
    try:
        with Counts() as counts:
            yield counts
    finally:
        _configure(before)


def machine_name() -> str:
    """Which programs run here, in words for a folder: JAX's version, the kind of device, and of a CPU what it can do.

    Example: "jax-0.10.2-tpu-v5p", "jax-0.10.2-cpu-1f0c3a5b"
    """
    device = jax.local_devices()[0]
    kind = re.sub(r"[^a-z0-9]+", "-", device.device_kind.lower()).strip("-")
    return f"jax-{jax.__version__}-{kind}{_cpu_digest() if device.platform == 'cpu' else ''}"


def _cpu_digest() -> str:
    """A program for one CPU may hold instructions that another one lacks."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    features = sorted(set(re.findall(r"^(?:model name|flags|Features)\s*:.*$", text, re.MULTILINE)))
    return f"-{hashlib.sha256(repr(features).encode()).hexdigest()[:8]}"


def _absolute(place: Place) -> Place:
    return place.absolute() if isinstance(place, pathlib.Path) else place


def _configure(settings: dict[str, Any]) -> None:
    if not settings:
        return
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX opens its folder once, at the first program


@epath.register_path_cls(SCHEME)
class ProgramFolder:
    """What JAX uses of the path of its folder. It is listed once: asking for each of many small programs would be slow."""

    def __init__(self, address: str):
        """Args: `address` is SCHEME and a place."""
        self._place = to_place(address.removeprefix(SCHEME))
        self._names: set[str] = set()
        self._failed = False

    def __str__(self) -> str:
        return str(self._place)

    def joinpath(self) -> "ProgramFolder":
        """What `epath.Path(address)` asks for."""
        return self

    def __truediv__(self, name: str) -> "Program":
        return Program(self, name)

    def mkdir(self, **_: Any) -> None:
        """Lists the folder; it is made when the first program is written."""
        with self._one_line("read"):
            self._names = set(objects.names(self._place))

    def read(self, name: str) -> bytes | None:
        """A program; None where there is none that is whole."""
        if name not in self._names or self._failed:
            return None
        with self._one_line("read"):
            content = objects.read_bytes(self._place / name)
            digest, program = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
            if hashlib.sha256(program).digest() == digest:
                return program
        return None

    def write(self, name: str, program: bytes) -> None:
        """Keeps a program."""
        if not self._failed:
            with self._one_line("kept"):
                objects.write_bytes(self._place / name, hashlib.sha256(program).digest() + program)
                self._names.add(name)

    @contextlib.contextmanager
    def _one_line(self, done: str) -> Iterator[None]:
        """Gives up after the first failure, which is one line: the run does not need this folder."""
        try:
            yield
        except FileNotFoundError:  # removed since it was listed
            return
        except (OSError, StorageError) as error:
            self._failed = True
            cause = first_line(error)
            print(
                f"{self._place}: compiled programs cannot be {done} ({cause}); the run compiles them", file=sys.stderr
            )


class Program:
    """What JAX uses of the path of one program."""

    def __init__(self, folder: ProgramFolder, name: str):
        self._folder, self._name = folder, name
        self._content: bytes | None = None

    def __str__(self) -> str:
        return f"{self._folder}/{self._name}"

    def exists(self) -> bool:
        """Whether it is there and whole. JAX asks right before it reads."""
        self._content = self._folder.read(self._name)
        return self._content is not None

    def read_bytes(self) -> bytes:
        """The content that `exists` has read. Raises: FileNotFoundError where there is none."""
        content = self._content if self._content is not None else self._folder.read(self._name)
        if content is None:
            raise FileNotFoundError(str(self))
        return content

    def write_bytes(self, content: bytes) -> int:
        """Keeps it. Returns the number of bytes."""
        self._folder.write(self._name, content)
        return len(content)
