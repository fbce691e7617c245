"""A run directory: everything about a run, enough to resume it from its path alone.

config.json       the resolved configuration
starts.jsonl      one line per start: time, command, commit, versions, devices, the step it began from
ledger.jsonl      where the wall time of every start went, see `lst_jax.runs.ledger`
metrics.jsonl     one line per record: {"step": n, "kind": "train" | "eval" | "bad", ...}, no gaps, no duplicates
tensorboard/      the same numbers as event files, written anew from metrics.jsonl at every start
checkpoints/      see `lst_jax.checkpoints.store`
"""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

from lst_jax.config import Config, check_same_identity, from_stored, identity, to_mapping
from lst_jax.core import json_files
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import ConfigError
from lst_jax.core.files import write_json
from lst_jax.recipes.validate import validate

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array_record", "sentencepiece", "numpy")
LONGEST_NAME = 255  # bytes of one name in a path, on all common file systems
# Former names of metrics, which records of older runs have
RENAMED_METRICS = {"units": "patches", "unit_fill": "patch_fill", "units_per_second": "patches_per_second"}


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: str | pathlib.Path):
        """Opens nothing. Raises: ConfigError where no file system could have such a path."""
        self.path = _checked(path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.starts_path = self.path / "starts.jsonl"
        self.ledger_path = self.path / "ledger.jsonl"
        self.tensorboard_path = self.path / "tensorboard"
        self.checkpoints_path = self.path / "checkpoints"

    def checkpoint_path(self, step: int) -> pathlib.Path:
        """The folder of a step. Example: runs/demo/checkpoints/00000450"""
        return self.checkpoints_path / f"{step:08d}"

    def resolve(self, config: Config | None) -> Config:
        """The configuration to run: `config` where it fits the stored one, or the stored one where it is None.

        Raises: ConfigError where there is none, or the stored one is of another identity. A run without a single
        step takes any: its recipe may have been mended.
        """
        if config is None:
            return self.load_config()
        if self.config_path.exists() and self.has_steps():
            check_same_identity(config, identity(self.load_config()), str(self.path))
        return config

    def has_steps(self) -> bool:
        """Whether the run has a checkpoint or a record, so that it belongs to its configuration."""
        there = self.checkpoints_path.iterdir() if self.checkpoints_path.is_dir() else ()
        return any(folder.name.isdecimal() for folder in there) or bool(self.read_metrics())

    def write_config(self, config: Config) -> None:
        """Makes this the run of `config`. Call it once everything that the configuration names has been opened."""
        write_json(self.config_path, to_mapping(config))

    def load_config(self) -> Config:
        """The stored configuration of any age, checked as strictly as a recipe. Raises: ConfigError, DataError."""
        if not os.path.exists(self.config_path):  # False also for a name that is too long
            raise ConfigError(
                f"{self.config_path}: no such run; start one with `lst train RUN --config configs/NAME.py`"
            )
        config = from_stored(json_files.read(self.config_path, "start the run again with --config"))
        validate(config)
        return config

    def record_start(
        self,
        step: int,
        devices: list[str],
        peak: tuple[float, str],
        init_from: pathlib.Path | None = None,
        compiler_options: Mapping[str, bool | str] | None = None,
    ) -> None:
        """Adds a line to starts.jsonl: from which step the run starts, with what versions, on what.

        Args: `peak` is FLOP/s and where the number is from. `init_from` is the checkpoint of another run whose
        parameters this one begins with. `compiler_options` are those that its step is compiled with.
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
        with json_files.open_lines(self.starts_path) as f:
            json_files.add_line(f, line)

    def read_starts(self) -> list[dict[str, Any]]:
        """The lines of starts.jsonl. Raises: DataError where one is damaged."""
        return json_files.read_lines(self.starts_path, {"host": str, "pid": int})

    def read_metrics(self, up_to_step: int | None = None) -> list[dict[str, Any]]:
        """The records in order, up to a step, with the present names of metrics.

        A last line that a kill cut short is passed over.
        """
        records = json_files.read_lines(self.metrics_path, {"step": int, "kind": str})
        return [
            {RENAMED_METRICS.get(key, key): value for key, value in record.items()}
            for record in records
            if up_to_step is None or record["step"] <= up_to_step
        ]


def find(path: str | pathlib.Path) -> tuple[RunDirectory, int | None] | None:
    """The run that `path` names, and the step if it names one of its checkpoints; None where it is neither.

    Example: "runs/1b" -> (runs/1b, None); "runs/1b/checkpoints/00200000" -> (runs/1b, 200000)
    """
    folder = _checked(path)
    if (folder / "checkpoints").is_dir():
        return RunDirectory(folder), None
    if folder.is_dir() and folder.parent.name == "checkpoints" and folder.name.isdecimal():
        return RunDirectory(folder.parent.parent), int(folder.name)
    return None


def _checked(path: str | pathlib.Path) -> pathlib.Path:
    """The path. Raises: ConfigError where one of its names is longer than file systems take."""
    path = pathlib.Path(path)
    for name in path.parts:
        if (size := len(os.fsencode(name))) > LONGEST_NAME:
            raise ConfigError(
                f"{name[:20]}…: this name has {size} bytes, and file systems take {LONGEST_NAME}; use a shorter one"
            )
    return path
