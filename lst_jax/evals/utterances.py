"""Utterances for evaluations: of a held-out source, or of any directory of records."""

from lst_jax.config import Config, SourceConfig
from lst_jax.core.errors import DataError
from lst_jax.data.pipeline import open_source
from lst_jax.data.records import Utterance, check_utterance
from lst_jax.data.unit_pieces import open_unit_pieces


def source_of(source: str, config: Config) -> SourceConfig:
    """The source of that name in `eval.sources`; for other names, the directory of utterances at this path."""
    named = {s.name: s for s in config.eval.sources}
    return named[source] if source in named else SourceConfig(source, "utterance", source, 1.0)


def utterances_of(source: str, config: Config, most: int | None = None) -> list[Utterance]:
    """The first `most` utterances with words of a source, which is named or is a directory: see `source_of`.

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
