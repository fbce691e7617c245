"""The engines that `--engine NAME` can name, and how a new one is added.

To add one, write a class with `make_shards` (`protocol.Engine`), and register a function that makes it from the number
of workers and the options of the command line:

    register("slurm", lambda workers, options: Slurm(options))
"""

from collections.abc import Callable, Mapping

from lst_jax.core.errors import DataError
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.engines.protocol import Engine

Options = Mapping[str, str | None]  # by name; None where an option has no value
ENGINES: dict[str, Callable[[int, Options], Engine]] = {}


def register(name: str, make: Callable[[int, Options], Engine]) -> None:
    """Adds an engine. Raises: ValueError where it is not complete, or its name is taken."""
    if not name or not callable(make):
        raise ValueError(f"engine {name!r}: a name and a function that makes it are needed")
    if name in ENGINES:
        raise ValueError(f"engine {name!r}: the name is registered already")
    ENGINES[name] = make


def load_engine(name: str, workers: int, options: Options) -> Engine:
    """The engine called `name`. Raises: DataError where there is none, or it cannot take the options."""
    if name not in ENGINES:
        raise DataError(f"--engine {name}: must be {' or '.join(sorted(ENGINES))}; correct it")
    return ENGINES[name](workers, options)


def load_beam(options: Options) -> Engine:
    """The Apache Beam engine with its pipeline's options. Raises: DataError where Beam is not installed."""
    try:
        from lst_jax.prepare.engines.beam import Beam  # here alone: the import takes a second, and Beam is an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "apache_beam":
            raise
        raise DataError(
            "--engine beam: needs Apache Beam, which is an extra; run pip install -e '.[beam]' in a clone"
        ) from error
    return Beam(dict(options))


def _local(workers: int, options: Options) -> Engine:
    if options:
        raise DataError(f"--beam-option {next(iter(options))}: is for --engine beam; add it, or leave this out")
    return Local(workers)


register("local", _local)
register("beam", lambda workers, options: load_beam(options))
