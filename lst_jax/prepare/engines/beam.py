"""The Apache Beam engine: one element is one shard. Imported only where Beam is asked for.

The output directory, the recordings and the tokenizer must have the same paths on all workers (a shared or mounted
file system), and the workers need this package (Beam's `setup_file` or `sdk_container_image`).
"""

import dataclasses
import pathlib
import pickle
import re
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from lst_jax.core.errors import DataError, UserError, storage_error
from lst_jax.prepare.directory import Directory
from lst_jax.prepare.engines.protocol import Slice
from lst_jax.prepare.makers import Maker

WORK_NAME = ".work.tmp"  # ends like other leftovers, so that the next run removes it
LOCAL_RUNNER = "DirectRunner"  # Beam's default: threads or processes of this machine
ERRORS = {error.__name__: error for error in UserError.__subclasses__()}


@dataclasses.dataclass(frozen=True)
class Beam:
    """A pipeline of one step; `options` are Beam's, by name, None where an option has no value."""

    options: dict[str, str | None]

    def make_shards(self, out: Directory, maker: Maker, slices: Iterable[Slice], tick: Callable[[int], Any]) -> None:
        """See `Engine.make_shards`. Items lie in a file of the directory meanwhile: a job's own graph must be small.

        Raises: what a worker raised, where it is a line for the user; else DataError with Beam's line.
        """
        if "runner" in self.options and self.options["runner"] != LOCAL_RUNNER and not out.path.is_absolute():
            raise DataError(
                f"--out {out.path}: workers on other machines find a place by its whole path; start it, "
                "--manifest, --units and --aligner with /"
            )
        work = out.path / WORK_NAME
        flags = [f"--{name}" if value is None else f"--{name}={value}" for name, value in self.options.items()]
        try:
            places = _write_work(work, slices)
            if not places:
                return
            with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
                _ = (
                    pipeline
                    | "shards" >> beam.Create([(number, offset) for number, offset, _ in places])
                    | "spread" >> beam.Reshuffle()
                    | "make" >> beam.ParDo(_MakeShard(out, maker))
                )
        except UserError as error:
            raise type(error)(_first_line(str(error))) from error
        except Exception as error:  # each runner has its own
            raise _of_worker(error) from error
        finally:
            work.unlink(missing_ok=True)
        for *_, size in places:
            tick(size)


class _MakeShard(beam.DoFn):
    """(number of a shard, where its items are in the work file) → the shard and its sidecar; no output."""

    def __init__(self, out: Directory, maker: Maker):
        self._out, self._maker = out, maker

    def process(self, element: tuple[int, int]) -> None:
        number, offset = element
        if self._out.finished(number):  # made before a worker was lost
            return
        with (self._out.path / WORK_NAME).open("rb") as file:
            file.seek(offset)
            items = pickle.load(file)
        self._out.write(number, self._maker.make(items))


def _write_work(path: pathlib.Path, slices: Iterable[Slice]) -> list[tuple[int, int, int]]:
    """(number, offset, items) of each slice. Raises: StorageError."""
    places = []
    try:
        with path.open("wb") as file:
            for number, items in slices:
                places.append((number, file.tell(), len(items)))
                pickle.dump(items, file)
    except OSError as error:
        raise storage_error(path, error) from error
    return places


def _of_worker(error: Exception) -> UserError:
    """The line for the user in what a runner raised, which may be the worker's whole traceback."""
    found = re.findall(rf"^(?:lst_jax\.core\.errors\.)?({'|'.join(ERRORS)}): (.*)", str(error), re.MULTILINE)
    if found:
        name, line = found[-1]
        return ERRORS[name](_first_line(line))
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return DataError(
        f"--engine beam: the job failed ({lines[-1].strip().replace(';', ',')}); mend it, then run the "
        "same command again: what was complete is kept"
    )


def _first_line(text: str) -> str:
    return text.splitlines()[0].partition(" [while running")[0]
