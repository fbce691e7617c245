"""A run directory: everything about a run, enough to resume it from its path alone.

config.json       the resolved configuration; a tokenizer in this folder is named without its folder, so that both may move
starts.jsonl      one line per start: time, command, commit, versions, devices, the step it began from
ledger.jsonl      where the wall time of every start went, see `lst_jax.runs.ledger`
metrics.jsonl     one line per record: {"step": n, "kind": "train" | "eval" | "bad", ...}, no gaps, no duplicates
tensorboard/      the same numbers as event files, written anew from metrics.jsonl at every start
checkpoints/      see `lst_jax.checkpoints.store`
compiled/         compiled programs, see `lst_jax.train.programs`
profiles/         profiles of chosen steps, see `lst_jax.train.profiles`
hosts/            of a job of several processes: what each one does now, see `lst_jax.runs.heartbeats`
hangs/            where a process stood that a watchdog ended, see `lst_jax.train.watchdog`

Nothing can be added to an object. So a run that began in a bucket, or on the mount of one, has the same lines in segments:

starts/00000002.json               the line of the second start
starts/00000002.owner.json         who has this start, see `lst_jax.storage.claim`
ledger/00000002-000001.jsonl       its first lines of the ledger
metrics/00000450-00000002-000001.jsonl   its first records, up to step 450

A segment is written before the checkpoint of a save becomes visible. A run in segments stays one wherever it is copied to.
A run of a disk that was copied to a bucket keeps the lines that it has in their files, and adds segments.
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lst_jax.config import Config, check_same_identity, from_stored, identity, to_mapping
from lst_jax.core import json_files
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import ConfigError
from lst_jax.core.files import exclusive_lock
from lst_jax.recipes.validate import validate
from lst_jax.runs import ledger
from lst_jax.runs.lines import FileLines, Lines, SegmentLines, read_file, read_segments
from lst_jax.storage import claim, objects, place
from lst_jax.storage.claim import Claim
from lst_jax.storage.place import Place

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array_record", "sentencepiece", "numpy")
RECORD = {"step": int, "kind": str}  # fields of every record, and their types
_START_SUFFIX = ".json"
COMMIT_FILE = "commit_success.txt"  # Orbax's own name; a checkpoint of a run in segments is whole once it has this file
STEP_METADATA = "_CHECKPOINT_METADATA"  # Orbax's own name, too
LONGEST_NAME = 255  # bytes of one name in a path, on all common file systems
# Former names of metrics, which records of older runs have
RENAMED_METRICS = {"units": "patches", "unit_fill": "patch_fill", "units_per_second": "patches_per_second"}


class RunDirectory:
    """The files of one run, on this machine or in a bucket."""

    def __init__(self, path: str | os.PathLike | Place):
        """Opens nothing. Raises: ConfigError where no file system, or no bucket that Orbax knows, has such a path."""
        self.path = _checked(path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.starts_path = self.path / "starts.jsonl"
        self.ledger_path = self.path / "ledger.jsonl"
        self.tensorboard_path = self.path / "tensorboard"
        self.checkpoints_path = self.path / "checkpoints"
        self.compiled_path, self.profiles_path = self.path / "compiled", self.path / "profiles"
        self.hosts_path, self.hangs_path = self.path / "hosts", self.path / "hangs"
        self.metrics_segments, self.starts_segments, self.ledger_segments = (
            self.path / name for name in ("metrics", "starts", "ledger")
        )

    @functools.cached_property
    def in_segments(self) -> bool:
        """Whether its lines are in segments: it lies in a bucket, or began there or on the mount of one."""
        if place.in_bucket(self.path) or objects.is_folder(self.starts_segments):
            return True
        return place.on_mount(self.path) and not objects.exists(self.config_path)

    def checkpoint_path(self, step: int) -> Place:
        """The folder of a step. Example: runs/demo/checkpoints/00000450"""
        return self.checkpoints_path / f"{step:08d}"

    def has_checkpoint(self, step: int) -> bool:
        """Whether the checkpoint of a step is there as a whole."""
        folder = self.checkpoint_path(step)
        if not self.in_segments:
            return objects.is_folder(folder)
        return objects.exists(folder / COMMIT_FILE) or self.was_copied(folder)

    def was_copied(self, folder: Place) -> bool:
        """Whether a step without `COMMIT_FILE` was whole on the disk that the run was copied from, as its metadata say.

        Orbax before 0.12.8 wrote no such file on a disk, where a step was whole once it had its name.
        """
        if not objects.exists(self.starts_path) or not objects.exists(folder / STEP_METADATA):
            return False
        found = objects.read_json(folder / STEP_METADATA, "copy the checkpoint again")
        return found.get("commit_timestamp_nsecs") is not None

    @contextlib.contextmanager
    def locked(self, command: str) -> Iterator[Claim | None]:
        """Keeps other processes from writing to the run. Gives the claim of a run in segments.

        Args: `command` is what messages call this process, as "lst train". Raises: BusyError, StorageError.
        """
        if not self.in_segments:
            assert isinstance(self.path, pathlib.Path)
            with exclusive_lock(self.path, command):
                yield None
            return
        with claim.held(self.starts_segments, command) as own:
            self._remove_half_checkpoints()
            yield own

    def _remove_half_checkpoints(self) -> None:
        """Removes what a killed save of a run in segments has left: it is under a step's own name, and may be large."""
        for name in objects.names(self.checkpoints_path):
            if name.isdecimal() and not self.has_checkpoint(int(name)):
                objects.delete_folder(self.checkpoints_path / name)

    def resolve(self, config: Config | None) -> Config:
        """The configuration to run: `config` where it fits the stored one, or the stored one where it is None.

        Raises: ConfigError where there is none, or the stored one is of another identity. A run without a single
        step takes any: its recipe may have been mended.
        """
        if config is None:
            return self.load_config()
        if objects.exists(self.config_path) and self.has_steps():
            check_same_identity(config, identity(self.load_config()), str(self.path))
        return config

    def has_steps(self) -> bool:
        """Whether the run has a checkpoint or a record, so that it belongs to its configuration."""
        return any(name.isdecimal() for name in objects.names(self.checkpoints_path)) or bool(self.read_metrics())

    def write_config(self, config: Config) -> None:
        """Makes this the run of `config`. Call it once everything that the configuration names has been opened."""
        if self.in_segments and isinstance(self.starts_segments, pathlib.Path):
            self.starts_segments.mkdir(parents=True, exist_ok=True)  # this folder tells the layout from now on
        objects.write_json(self.config_path, to_mapping(self._with_tokenizers(config, self._named_from_here)))

    def load_config(self) -> Config:
        """The stored configuration of any age, checked as strictly as a recipe. Raises: ConfigError, DataError."""
        if not objects.exists(self.config_path):
            raise ConfigError(
                f"{self.config_path}: no such run; start one with `lst train RUN --config configs/NAME.py`"
            )
        config = from_stored(objects.read_json(self.config_path, "start the run again with --config"))
        validate(config)
        return self._with_tokenizers(config, self._found_from_here)

    def _with_tokenizers(self, config: Config, change: Callable[[str], str]) -> Config:
        paths = {name: getattr(config.data, name) for name in ("tokenizer", "unit_tokenizer")}
        changed = {name: change(path) for name, path in paths.items() if path is not None}
        return dataclasses.replace(config, data=dataclasses.replace(config.data, **changed))

    def _named_from_here(self, path: str) -> str:
        """The bare name of a file in this folder; any other path as it is."""
        found = place.to_place(path)
        return found.name if found.parent == self.path else path

    def _found_from_here(self, path: str) -> str:
        """The path of a file in this folder, where a bare name is given and such a file is there."""
        is_bare = path != "" and pathlib.PurePath(path).name == path
        return str(self.path / path) if is_bare and objects.exists(self.path / path) else path

    def record_start(
        self,
        step: int,
        devices: list[str],
        peak: tuple[float, str],
        init_from: Place | None = None,
        compiler_options: Mapping[str, bool | str] | None = None,
        own: Claim | None = None,
    ) -> None:
        """Adds the line of this start: from which step the run starts, with what versions, on what.

        Args: `peak` is FLOP/s and where the number is from. `init_from` is the checkpoint of another run whose
        parameters this one begins with. `compiler_options` are those that its step is compiled with. `own` is the
        claim that `locked` gave.
        """
        line = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "step": step,
            "init_from": None if init_from is None else str(init_from),
            "command": sys.argv,
            "commit": code_commit(),
            "python": platform.python_version(),
            "packages": {p: importlib.metadata.version(p) for p in PACKAGES},
            "devices": devices,
            "peak_flops": peak[0],
            "peak_source": peak[1],
            "compiler_options": dict(compiler_options or {}),
            "host": platform.node(),
            "pid": os.getpid(),
            "cores": os.cpu_count(),
        }
        if own is None:
            with json_files.open_lines(self.starts_path) as f:
                json_files.add_line(f, line)
        else:
            objects.write_text(self.starts_segments / f"{own.number:08d}.json", json.dumps(line) + "\n")

    def read_starts(self) -> list[dict[str, Any]]:
        """The line of every start. Raises: DataError where one is damaged."""
        needed = {"host": str, "pid": int}
        return read_file(self.starts_path, needed) + read_segments(self.starts_segments, needed, _START_SUFFIX)

    def read_metrics(self, up_to_step: int | None = None) -> list[dict[str, Any]]:
        """The records in order, up to a step, with the present names of metrics.

        A last line that a kill cut short is passed over.
        """
        records = read_file(self.metrics_path, RECORD) + read_segments(self.metrics_segments, RECORD)
        return [
            {RENAMED_METRICS.get(key, key): value for key, value in record.items()}
            for record in records
            if up_to_step is None or record["step"] <= up_to_step
        ]

    def read_ledger(self) -> list[dict[str, Any]]:
        """The lines of the ledger of all starts. Raises: DataError where one is damaged."""
        segments = read_segments(self.ledger_segments, ledger.NEEDED)
        return ledger.read(self.ledger_path) + ledger.checked(segments, str(self.ledger_segments))

    def ledger_lines(self, own: Claim | None) -> Lines:
        """Where this start's ledger goes; `own` is the claim that `locked` gave."""
        if own is None:
            return FileLines(self.ledger_path)
        number = itertools.count(1)
        return SegmentLines(self.ledger_segments, lambda _: f"{own.number:08d}-{next(number):06d}", own.check)

    def metrics_lines(self, own: Claim | None) -> Lines:
        """Where this start's records go; `own` is the claim that `locked` gave."""
        if own is None:
            return FileLines(self.metrics_path)
        number = itertools.count(1)
        return SegmentLines(
            self.metrics_segments,
            lambda last: f"{last['step']:08d}-{own.number:08d}-{next(number):06d}",
            own.check,
        )


def find(path: str | os.PathLike | Place) -> tuple[RunDirectory, int | None] | None:
    """The run that `path` names, and the step if it names one of its checkpoints; None where it is neither.

    Example: "runs/1b" -> (runs/1b, None); "runs/1b/checkpoints/00200000" -> (runs/1b, 200000)
    """
    folder = place.to_place(path)
    if isinstance(folder, place.BucketPath) and folder.scheme not in place.RUN_SCHEMES:
        return None
    folder = _checked(folder)
    if objects.is_folder(folder / "checkpoints"):
        return RunDirectory(folder), None
    if folder.parent.name == "checkpoints" and folder.name.isdecimal() and objects.is_folder(folder):
        return RunDirectory(folder.parent.parent), int(folder.name)
    return None


def _checked(path: str | os.PathLike | Place) -> Place:
    """The place. Raises: ConfigError where one of its names is longer than file systems take."""
    found = place.to_run_place(path)
    for name in found.parts:
        if (size := len(os.fsencode(name))) > LONGEST_NAME:
            raise ConfigError(
                f"{name[:20]}…: this name has {size} bytes, and file systems take {LONGEST_NAME}; use a shorter one"
            )
    return found
