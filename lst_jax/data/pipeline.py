"""The stream of training batches over directories of records."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np
from grain.experimental import ThreadPrefetchIterDataset

from lst_jax.config import Config, SourceConfig
from lst_jax.core.errors import DataError
from lst_jax.data.row_streams import RowStreams
from lst_jax.data.rows import STATE_FIELDS
from lst_jax.data.shards import METADATA_NAME
from lst_jax.data.sources import RecordSource, open_records
from lst_jax.data.steps import Step, StepMaker
from lst_jax.data.text import load_tokenizer, tokenizer_fingerprint
from lst_jax.data.text_tokenizer import TextTokenizer
from lst_jax.data.unit_pieces import check_codebook, open_unit_pieces, unit_tokenizer_fingerprint
from lst_jax.data.workers import WorkerSteps


def open_source(source: SourceConfig, config: Config) -> RecordSource:
    """Opens a source and compares its metadata with the run. Raises: DataError naming both sides and the fix."""
    directory = open_records(source.path, source.kind)
    where, found = f"{directory.path / METADATA_NAME}", directory.metadata
    if not len(directory):
        raise DataError(f"{where}: records=0; a source needs at least one record: prepare it again")
    if source.kind == "utterance":
        if found.unit_rate != config.data.unit_rate:
            raise DataError(
                f"{where}: unit_rate={found.unit_rate}, the run has data.unit_rate="
                f"{config.data.unit_rate}; use units of that rate, or change data.unit_rate"
            )
        if found.codebook_size is None or found.codebook_size > config.vocab.unit_slots:
            raise DataError(
                f"{where}: codebook_size={found.codebook_size}, the run has vocab.unit_slots="
                f"{config.vocab.unit_slots}; use units of a smaller codebook, or more slots"
            )
        pieces = open_unit_pieces(config)
        if pieces is not None:
            check_codebook(pieces, found, where)
    ours = tokenizer_fingerprint(config.data.tokenizer)
    if found.tokenizer_fingerprint not in (None, ours):
        raise DataError(
            f"{where}: tokenizer_fingerprint={found.tokenizer_fingerprint}, data.tokenizer="
            f"{config.data.tokenizer} has {ours}; use the tokenizer that prepared the source"
        )
    return directory


def open_tokenizer(config: Config) -> TextTokenizer:
    """Loads `data.tokenizer`. Raises: DataError where its size, BOS or EOS are not those of `vocab`."""
    tokenizer = load_tokenizer(config.data.tokenizer)
    if tokenizer.get_piece_size() != config.vocab.text_size:
        raise DataError(
            f"{config.data.tokenizer}: has {tokenizer.get_piece_size()} pieces, the run has "
            f"vocab.text_size={config.vocab.text_size}; make the two equal"
        )
    tokenizer.check_document_ids(config.vocab.bos_id, config.vocab.eos_id)
    return tokenizer


def vocabulary_of(config: Config) -> dict[str, str | None]:
    """`BatchStream.vocabulary` as far as a run's tokenizers give it. Raises: DataError where a file is missing."""
    pieces = config.data.unit_tokenizer
    return {
        "tokenizer": tokenizer_fingerprint(config.data.tokenizer),
        "unit_tokenizer": None if pieces is None else unit_tokenizer_fingerprint(pieces),
        "codebook": None,
    }


class BatchStream(Iterator[Step]):
    """Endless training batches. The batch of a step is the same for every number of hosts and after every restart."""

    def __init__(self, config: Config, rows: Sequence[int] | None = None, prefetch: int | None = None):
        """Opens the sources of `config`, at step 0.

        Args:
            rows: the rows of the global batch that this process makes. None: all of them.
            prefetch: batches that a thread makes ahead. None: `data.prefetch`. 0: each is made when it is asked for,
                and by no `data.workers`.
        Raises: DataError where a source or the tokenizer does not fit the run; StorageError; ConfigError.
        """
        self._config = config
        self._rows = range(config.data.rows) if rows is None else rows
        assert len(self._rows) and 0 <= min(self._rows) and max(self._rows) < config.data.rows, rows
        tokenizer = open_tokenizer(config)
        self._sources = [open_source(source, config) for source in config.data.sources]
        ahead = config.data.prefetch if prefetch is None else prefetch
        if config.data.workers and prefetch != 0:
            self._maker = WorkerSteps(config, self._sources, self._rows, config.data.workers)
        else:
            self._maker = StepMaker(config, RowStreams(config, self._sources, tokenizer), self._rows)
        steps = _StepDataset(self._maker)
        self._iterator = iter(ThreadPrefetchIterDataset(steps, prefetch_buffer_size=ahead) if ahead else steps)

    def __next__(self) -> Step:
        """The next batch. Raises: DataError where a record cannot be used, even if it was met while prefetching."""
        return next(self._iterator)

    def get_state(self) -> dict[str, Any]:
        """`{"step": next step, "rows": int64 [this process's rows, sources, 5]}` after the last batch handed out."""
        return self._iterator.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a `get_state`, in O(1). Its `rows` may be those of this process or of all, [B, sources, 5]."""
        rows = np.asarray(state["rows"], np.int64)
        if len(rows) == self._config.data.rows:
            rows = rows[np.asarray(self._rows)]
        expected = (len(self._rows), len(self._sources), STATE_FIELDS)
        if rows.shape != expected:
            raise DataError(
                f"data state: has the shape {rows.shape}, this run needs {expected}; resume with the same "
                "data.rows and data.sources"
            )
        self._iterator.set_state({"step": int(state["step"]), "rows": rows})

    def fingerprint(self) -> str:
        """Sixteen hex digits that identify the data: the checksums of all shards, in order, and of the tokenizers."""
        parts = [[source.kind, [shard.sha256 for shard in source.metadata.shards]] for source in self._sources]
        parts.append(tokenizer_fingerprint(self._config.data.tokenizer))
        if self._config.data.unit_tokenizer is not None:
            parts.append(unit_tokenizer_fingerprint(self._config.data.unit_tokenizer))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def vocabulary(self) -> dict[str, str | None]:
        """Fingerprints of the files that give token ids their meaning.

        Keys: `tokenizer`; `unit_tokenizer`, None where units are tokens; `codebook`, of the first source that has one.
        """
        codebooks = [source.metadata.codebook_fingerprint for source in self._sources]
        return vocabulary_of(self._config) | {"codebook": next(filter(None, codebooks), None)}

    def close(self) -> None:
        """Stops the prefetching thread, the threads that read ahead and the workers, as far as there are any."""
        self._iterator.close()
        self._maker.close()


class _StepDataset(grain.IterDataset):
    """The stream as a Grain dataset, so that Grain can prefetch it. It can be iterated once."""

    def __init__(self, maker: StepMaker | WorkerSteps):
        super().__init__()
        self._maker = maker

    def __iter__(self) -> "_StepIterator":
        return _StepIterator(self._maker)


class _StepIterator(grain.DatasetIterator):
    """Hands out the steps that its maker makes. Its state is the maker's."""

    def __init__(self, maker: StepMaker | WorkerSteps):
        super().__init__()
        self._maker = maker

    def __next__(self) -> Step:
        return self._maker.make()

    def get_state(self) -> dict[str, Any]:
        return self._maker.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        self._maker.set_state(state)
