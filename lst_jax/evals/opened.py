"""A trained run, opened to be asked questions."""

from typing import Any, NamedTuple

from jax.sharding import Mesh

from lst_jax import sharding, step
from lst_jax.checkpoint import Checkpoints
from lst_jax.config import Config, SourceConfig
from lst_jax.data.pipeline import open_source
from lst_jax.data.records import Utterance, check_utterance
from lst_jax.data.unit_pieces import open_unit_pieces
from lst_jax.errors import CheckpointError, DataError
from lst_jax.model import lst
from lst_jax.run_dir import RunDirectory


class OpenedRun(NamedTuple):
    """The newest checkpoint of a run on one device."""

    run: RunDirectory
    config: Config
    number: int  # the checkpoint's step
    mesh: Mesh
    model: lst.Model
    params: Any


def open_run(run: RunDirectory) -> OpenedRun:
    """Restores the parameters only. Raises: CheckpointError where there is no checkpoint."""
    config = run.load_config()
    if not run.checkpoints_path.is_dir():
        raise CheckpointError(f"{run.checkpoints_path}: holds no checkpoint; train first with lst train {run.path}")
    checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep)
    newest = checkpoints.latest()
    if newest is None:
        raise CheckpointError(f"{run.checkpoints_path}: holds no checkpoint; train first with lst train {run.path}")
    mesh = sharding.one_device()
    model = step.build_model(config, mesh)
    params = checkpoints.restore_params(newest, step.state_shape(config, model, mesh).params)
    return OpenedRun(run, config, newest, mesh, model, params)


def source_of(source: str, config: Config) -> SourceConfig:
    """One of `eval.sources` by its name, else a directory of utterances."""
    named = {s.name: s for s in config.eval.sources}
    return named[source] if source in named else SourceConfig(source, "utterance", source, 1.0)


def utterances_of(source: str, config: Config, most: int | None = None) -> list[Utterance]:
    """The first `most` utterances with words of a source of `eval.sources`, by its name, or of a directory of records.

    Raises: DataError where it is neither, does not fit the run, or has none.
    """
    settings = source_of(source, config)
    if settings.kind != "utterance":
        raise DataError(f"{source}: holds texts; give a source of utterances")
    found: list[Utterance] = []
    pieces = open_unit_pieces(config)
    size = config.vocab.unit_slots if pieces is None else pieces.codebook.size
    for index, record in enumerate(open_source(settings, config)):
        try:
            check_utterance(record, size)
        except DataError as error:
            raise DataError(f"{settings.path}: record {index}: {error}") from error
        if record.words:
            found.append(record)
        if len(found) == most:
            break
    if not found:
        raise DataError(f"{settings.path}: has no utterance with words; prepare it with transcripts")
    return found
