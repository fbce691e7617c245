"""RUN/metrics.jsonl: one line for each record of a run, without gaps and duplicates; and its copy for TensorBoard."""

import json
from typing import Any

from lst_jax.core import json_files
from lst_jax.core.files import sync_file, write_text
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.tensorboard import EventFile


class MetricsWriter:
    """Adds records to metrics.jsonl and to TensorBoard; opening it at step n removes the records after n."""

    def __init__(self, run: RunDirectory, step: int):
        """Raises: StorageError where metrics.jsonl cannot be written."""
        records = run.read_metrics(up_to_step=step)
        write_text(run.metrics_path, "".join(json.dumps(r) + "\n" for r in records))
        self._file = json_files.open_lines(run.metrics_path)
        self._events = EventFile(run.tensorboard_path, records)

    def write(self, step: int, kind: str, values: dict[str, Any]) -> None:
        """Adds one record, which has left this process when it returns. Raises: StorageError."""
        record = {"step": step, "kind": kind, **values}
        json_files.add_line(self._file, record)
        self._events.add(record)

    def sync(self) -> None:
        """Returns when the records are on the disk, so that a power cut leaves them. Raises: StorageError."""
        sync_file(self._file)

    def close(self) -> None:
        """Closes both files."""
        self._file.close()
        self._events.close()


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
        f"{run.metrics_path}: the records of steps {last + 1} to {step} are missing, though their checkpoint is there; "
        f"training goes on from step {step} without them"
    )
