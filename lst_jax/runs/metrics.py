"""The records of a run, without gaps and duplicates: RUN/metrics.jsonl or segments; and their copy for TensorBoard."""

import json
from collections.abc import Sequence
from typing import Any

from lst_jax.core.files import write_text
from lst_jax.runs.directory import RECORD, RunDirectory
from lst_jax.runs.lines import read_file
from lst_jax.runs.tensorboard import EventFile, EventSegments
from lst_jax.runs.trackers.aside import Aside
from lst_jax.storage import objects
from lst_jax.storage.claim import Claim

Beside = EventFile | EventSegments | Aside  # what gets every record, and never raises


class MetricsWriter:
    """Adds records to those of the run, to TensorBoard and to trackers; opening it at step n removes the records after n."""

    def __init__(self, run: RunDirectory, step: int, own: Claim | None = None, trackers: Sequence[Aside] = ()):
        """Args: `own` is the claim that `RunDirectory.locked` gave. Raises: StorageError where nothing can be written."""
        records = run.read_metrics(up_to_step=step)
        if own is None:
            write_text(run.metrics_path, "".join(json.dumps(r) + "\n" for r in records))
            events: Beside = EventFile(run.tensorboard_path, records)
        else:
            _remove_after(run, step)
            events = EventSegments(run.tensorboard_path, records, step)
        self._beside: list[Beside] = [events, *trackers]
        self._lines = run.metrics_lines(own)

    def write(self, step: int, kind: str, values: dict[str, Any]) -> None:
        """Adds one record, which a run on a disk has when it returns. Raises: StorageError."""
        record = {"step": step, "kind": kind, **values}
        self._lines.add(record)
        for one in self._beside:
            one.add(record)

    def sync(self) -> None:
        """Returns when the records are kept, so that a power cut leaves them. Raises: StorageError."""
        self._lines.keep()
        for one in self._beside:
            one.keep()

    def close(self) -> None:
        """Keeps the records and closes what is open."""
        self._lines.close()
        for one in self._beside:
            one.close()


def _remove_after(run: RunDirectory, step: int) -> None:
    """Removes the records of steps that are done again. A save ends a segment, so none holds steps of both sides.

    A file of lines, of a run that was copied to a bucket, is written anew without them.
    """
    there = read_file(run.metrics_path, RECORD)
    kept = [record for record in there if record["step"] <= step]
    if len(kept) < len(there):
        objects.write_text(run.metrics_path, "".join(json.dumps(record) + "\n" for record in kept))
    for name in objects.names(run.metrics_segments):
        if name[:8].isdecimal() and int(name.partition("-")[0]) > step:
            objects.delete(run.metrics_segments / name)


def missing_before(run: RunDirectory, step: int) -> str | None:
    """One line about training records that are missing at the end, before the checkpoint of `step`; None: all are there.

    A power cut, or a file that was removed, leaves a checkpoint without the records that lead to it.
    """
    if not step:
        return None
    every = run.load_config().train.log_every
    last = max((r["step"] for r in run.read_metrics(up_to_step=step) if r["kind"] == "train"), default=0)
    if last >= step // every * every:
        return None
    return (
        f"{run.metrics_segments if run.in_segments else run.metrics_path}: the records of steps {last + 1} to {step} are "
        f"missing, though their checkpoint is there; training goes on from step {step} without them"
    )
