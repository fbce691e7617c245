"""The Apache Beam engine: one element is one part, or one shard to merge. Imported only where Beam is asked for.

An element carries all that a worker needs: the address, where the part begins, how much it is. A worker reads lines and
recordings there, and writes to the address of the output. So where manifest, recordings, tokenizer and output lie in a
bucket, no disk is shared. Else all workers must see them at the same paths. The workers need this package (Beam's
`setup_file` or `sdk_container_image`).
"""

import dataclasses
import itertools
import pathlib
import pickle
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from lst_jax.core.errors import DataError, UserError
from lst_jax.prepare.corpora.protocol import Part
from lst_jax.prepare.engines.protocol import Tick, Work
from lst_jax.prepare.merging import Group

LOCAL_RUNNER = "DirectRunner"  # Beam's default: threads or processes of this machine
ERRORS = {error.__name__: error for error in UserError.__subclasses__()}
BATCH = 256  # elements that are packed together: a job's own graph must be small
JOB = 100_000  # elements of one job at most: 2 MB of its graph
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Beam:
    """Pipelines of one step; `options` are Beam's, by name, None where an option has no value."""

    options: dict[str, str | None]

    def make_parts(self, work: Work, parts: Iterable[Part], tick: Tick) -> None:
        """See `Engine.make_parts`. Raises: what a worker raised, if it is a line for the user; else DataError."""
        self._check_places(work)
        waiting = iter(parts)
        while chosen := list(itertools.islice(waiting, JOB)):
            self._run("make", work.make, chosen)
            for part in chosen:
                tick(0, part.size)

    def merge(self, work: Work, groups: Iterable[Group], tick: Tick) -> None:
        """See `Engine.merge`. Raises: as `make_parts`."""
        waiting = iter(groups)
        while chosen := list(itertools.islice(waiting, JOB)):
            self._run("merge", work.merge, chosen)
            for group in chosen:
                tick(1, sum(part.bytes for part in group.parts))

    def _run(self, name: str, function: Callable[[Any], Any], elements: list[Any]) -> None:
        flags = [f"--{key}" if value is None else f"--{key}={value}" for key, value in self.options.items()]
        try:
            with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
                _ = (
                    pipeline
                    | "elements" >> beam.Create(list(_packed(elements)))
                    | "unpack" >> beam.FlatMap(_unpacked)
                    | "spread" >> beam.Reshuffle()
                    | name >> beam.ParDo(_Do(function))
                )
        except UserError as error:
            raise type(error)(_first_line(str(error))) from error
        except Exception as error:  # each runner has its own
            raise _of_worker(error) from error

    def _check_places(self, work: Work) -> None:
        is_local, out = self.options.get("runner", LOCAL_RUNNER) == LOCAL_RUNNER, work.parts.path
        if isinstance(out, pathlib.Path) and not is_local and not out.is_absolute():
            raise DataError(
                f"--out {out}: workers on other machines find a place by its whole path; start it, "
                "--manifest, --units and --aligner with /, or give addresses of a bucket"
            )


class _Do(beam.DoFn):
    """An element → what `function` does with it; no output."""

    def __init__(self, function: Callable[[Any], Any]):
        self._function = function

    def process(self, element: Any) -> None:
        self._function(element)


def _packed(elements: list[T]) -> Iterator[bytes]:
    for start in range(0, len(elements), BATCH):
        yield zlib.compress(pickle.dumps(elements[start : start + BATCH]))


def _unpacked(batch: bytes) -> list[Any]:
    return pickle.loads(zlib.decompress(batch))


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
