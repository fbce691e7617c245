"""A run directory: everything about a run, enough to resume it from its path alone.

config.json       the resolved configuration
starts.jsonl      one line a start: time, command, commit, versions, devices, the step it began from
ledger.jsonl      where the wall time of every start went, see `lst_jax.runs.ledger`
metrics.jsonl     one line a record: {"step": n, "kind": "train" | "eval" | "bad", ...}, no gaps, no duplicates
tensorboard/      the same numbers as event files, written anew from metrics.jsonl at every start
checkpoints/      see `lst_jax.checkpoints.store`
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from typing import Any

from lst_jax.config import Config, check_same_identity, from_mapping, identity, to_mapping, with_later_fields
from lst_jax.core.code_version import code_commit
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.files import add_json_line, open_json_lines, read_json_lines, write_json
from lst_jax.recipes.validate import validate

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array_record", "sentencepiece", "numpy")


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
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
        """The configuration to run: `config` if it may, the stored one where it is None. Writes nothing.

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
        """Makes this the run of `config`; called once everything it names has been opened."""
        write_json(self.config_path, to_mapping(config))

    def load_config(self) -> Config:
        """The stored configuration, checked as strictly as a recipe."""
        try:
            config = from_mapping(with_later_fields(json.loads(self.config_path.read_text())))
        except FileNotFoundError as error:
            raise ConfigError(f"{self.config_path}: no such run; start one with --config configs/NAME.py") from error
        except json.JSONDecodeError as error:
            raise DataError(
                f"{self.config_path}: not JSON ({error.msg} at line {error.lineno}); start the run again with --config"
            ) from error
        validate(config)
        return config

    def record_start(
        self, step: int, devices: list[str], peak: tuple[float, str], init_from: pathlib.Path | None = None
    ) -> None:
        """Appends what is starting: from which step, with what versions, on what; `peak` is FLOP/s and its origin.

        `init_from`: the checkpoint of another run whose parameters it begins with.
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
            "host": platform.node(),
            "pid": os.getpid(),
            "cores": os.cpu_count(),
        }
        with open_json_lines(self.starts_path) as f:
            add_json_line(f, line)

    def read_metrics(self, up_to_step: int | None = None) -> list[dict[str, Any]]:
        """The records in order; a last line cut short by a kill is passed over, as are those after `up_to_step`."""
        records = read_json_lines(self.metrics_path)
        return [r for r in records if up_to_step is None or r["step"] <= up_to_step]


def find(path: str | pathlib.Path) -> tuple[RunDirectory, int | None] | None:
    """The run that `path` names, and the step if it names one of its checkpoints; None where it is neither.

    Example: "runs/1b" -> (runs/1b, None); "runs/1b/checkpoints/00200000" -> (runs/1b, 200000)
    """
    folder = pathlib.Path(path)
    if (folder / "checkpoints").is_dir():
        return RunDirectory(folder), None
    if folder.is_dir() and folder.parent.name == "checkpoints" and folder.name.isdecimal():
        return RunDirectory(folder.parent.parent), int(folder.name)
    return None
