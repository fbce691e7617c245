"""The Apache Beam engine: one element is one shard. Imported only where Beam is asked for.

All workers must see the recordings and the tokenizer at the same paths, on a shared or mounted file system. So they must
the output directory, unless it lies in a bucket. The workers need this package (Beam's `setup_file` or
`sdk_container_image`).
"""

import dataclasses
import pathlib
import pickle
import re
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from lst_jax.core.errors import DataError, UserError
from lst_jax.prepare.directory import Directory
from lst_jax.prepare.engines.protocol import Slice
from lst_jax.prepare.makers import Maker
from lst_jax.storage import objects
from lst_jax.storage.place import Place

LOCAL_RUNNER = "DirectRunner"  # Beam's default: threads or processes of this machine
ERRORS = {error.__name__: error for error in UserError.__subclasses__()}


@dataclasses.dataclass(frozen=True)
class Beam:
    """A pipeline of one step; `options` are Beam's, by name, None where an option has no value."""

    options: dict[str, str | None]

    def make_shards(self, out: Directory, maker: Maker, slices: Iterable[Slice], tick: Callable[[int], Any]) -> None:
        """See `Engine.make_shards`. Items lie in objects of the directory meanwhile: a job's own graph must be small.

        Raises: what a worker raised, where it is a line for the user; else DataError with Beam's line.
        """
        is_local = "runner" not in self.options or self.options["runner"] == LOCAL_RUNNER
        if isinstance(out.path, pathlib.Path) and not is_local and not out.path.is_absolute():
            raise DataError(
                f"--out {out.path}: workers on other machines find a place by its whole path; start it, "
                "--manifest, --units and --aligner with /"
            )
        flags = [f"--{name}" if value is None else f"--{name}={value}" for name, value in self.options.items()]
        sizes: dict[int, int] = {}
        try:
            _write_work(out, slices, sizes)
            if not sizes:
                return
            with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
                _ = (
                    pipeline
                    | "shards" >> beam.Create(list(sizes))
                    | "spread" >> beam.Reshuffle()
                    | "make" >> beam.ParDo(_MakeShard(out, maker))
                )
        except UserError as error:
            raise type(error)(_first_line(str(error))) from error
        except Exception as error:  # each runner has its own
            raise _of_worker(error) from error
        finally:
            for number in sizes:
                objects.delete(_work_place(out, number))
        for size in sizes.values():
            tick(size)


class _MakeShard(beam.DoFn):
    """The number of a shard → the shard and its sidecar; no output. Its items are an object of the directory."""

    def __init__(self, out: Directory, maker: Maker):
        self._out, self._maker = out, maker

    def process(self, element: int) -> None:
        if not self._out.finished(element):  # else made before a worker was lost
            items = pickle.loads(objects.read_bytes(_work_place(self._out, element)))
            self._out.write(element, self._maker.make(items))


def _write_work(out: Directory, slices: Iterable[Slice], sizes: dict[int, int]) -> None:
    """Writes the items of each slice, and notes their number in `sizes`. Raises: StorageError."""
    for number, items in slices:
        sizes[number] = len(items)
        objects.write_bytes(_work_place(out, number), pickle.dumps(items))


def _work_place(out: Directory, number: int) -> Place:
    return out.path / f".work-{number:05d}.tmp"  # ends like other leftovers, so that the next run removes it


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
