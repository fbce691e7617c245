"""Weights & Biases. Its own environment variables choose project and mode: WANDB_PROJECT, WANDB_MODE=offline, WANDB_API_KEY.

A step that a later start does again has two points there; the axis of all figures is our own `step`.
"""

import os
import pathlib
from collections.abc import Mapping

import wandb

from lst_jax.runs.trackers.protocol import TrackedRun

PROJECT = "lst_jax"
ONLINE = "online"  # the default of WANDB_MODE, in which a terminal would be asked for a key
FOLDER = "trackers"  # of a run of this machine, for the client's own files


class WeightsAndBiases:
    """One run of a project."""

    def __init__(self, run: TrackedRun):
        """Goes on with the run of the same id, if the service has it."""
        if os.environ.get("WANDB_MODE", ONLINE) == ONLINE and not wandb.login(prompt=False):
            raise ValueError("there is no key for the service, set WANDB_API_KEY, or WANDB_MODE=offline")
        folder = None
        if isinstance(run.place, pathlib.Path) and "WANDB_DIR" not in os.environ:
            folder = run.place / FOLDER
            folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.id,
            name=run.name,
            resume="allow",
            dir=folder and str(folder),
            config=dict(run.settings),
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers of a record."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        """Waits until the service has everything; offline, until the files are whole."""
        self._run.finish()
