"""Two other ways to make batches from the same examples, for comparison with `BatchStream`.

Grain's online packing reads, shuffles, mixes and packs by itself. The ancestor's iterator is rewritten from the paper's
description: one unseeded generator for the whole process, a shuffle buffer of documents, and rows of U patches whose
token arrays have 3·U tokens.
"""

import functools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np
from grain.experimental import ConcatThenSplitIterDataset, FirstFitPackIterDataset, FlatMapIterDataset, FlatMapTransform
from jaxtyping import Int

from lst_jax.config import Config
from lst_jax.core.vocab import PAD_ID
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import interleave
from lst_jax.data.patching import strategy_of
from lst_jax.data.records import TextDocument, Utterance, check_utterance
from lst_jax.data.rows import Batch, stack_rows
from lst_jax.data.sources import RecordSource
from lst_jax.data.text_tokenizer import TextTokenizer

ONE_BY_ONE = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
PACKING_BINS = 64  # rows that Grain's first-fit fills side by side
SHUFFLE_DOCUMENTS = 1000
ANCESTOR_PADDING = 3  # tokens of a row per patch
SAMPLE = 200  # documents whose mean length turns token shares into document weights
TOKEN, START, END = range(3)  # columns of a document's cells


class Examples:
    """Turns records into examples with one fixed boundary rule, and counts the tokens taken from each source."""

    def __init__(self, config: Config, sources: Sequence[RecordSource], tokenizer: TextTokenizer):
        """`sources` are those of `config.data.sources`, open."""
        self.config, self.sources = config, sources
        self._builder = ExampleBuilder.of(config, tokenizer)
        self._rule = strategy_of(config.data.patching).inference_rule
        self.weights = self._document_weights()
        self.source_tokens = np.zeros(len(sources), np.int64)
        self.tokens_lost = 0  # tokens that a packer had no room for

    def cells(self, record: Utterance | TextDocument, rng: np.random.Generator, source: int) -> Int[np.ndarray, "n 3"]:
        """The tokens, patch starts and patch ends of a document as one array, so that a packer moves them together."""
        example = self._example(record, rng)
        self.source_tokens[source] += len(example.token)
        return np.stack([example.token, example.patch_start, example.patch_end], axis=1)

    def _example(self, record: Utterance | TextDocument, rng: np.random.Generator) -> Example:
        if isinstance(record, TextDocument):
            return self._builder.text(record)
        check_utterance(record, self._builder.codebook_size)
        return self._builder.interleaved(record, interleave(record, self.config.data.interleave, rng), self._rule)

    def _document_weights(self) -> list[float]:
        """The share of documents per source that gives the asked shares of tokens, by the mean length of a sample."""
        rng, weights = np.random.default_rng(0), []
        for settings, records in zip(self.config.data.sources, self.sources, strict=True):
            sample = range(0, len(records), -(-len(records) // SAMPLE))
            weights.append(settings.share / np.mean([len(self._example(records[i], rng).token) for i in sample]))
        return [w / sum(weights) for w in weights]


def grain_concat_then_split(examples: Examples, reading: grain.ReadOptions = ONE_BY_ONE) -> grain.IterDataset:
    """Grain's documents, concatenated and split every T tokens. Patches beyond U are lost: Grain knows one budget."""
    data = examples.config.data
    packed = ConcatThenSplitIterDataset(_grain_documents(examples, reading), length_struct={"cells": data.row_tokens})
    return packed.map(functools.partial(_grain_row, examples)).batch(data.rows, batch_fn=stack_rows)


def grain_first_fit(examples: Examples) -> grain.IterDataset:
    """Grain's documents, each in the first of `PACKING_BINS` rows with room for all of it in T and in U.

    Documents longer than a row are cut beforehand: this packer never splits.
    """
    data = examples.config.data
    parts = FlatMapIterDataset(_grain_documents(examples, ONE_BY_ONE), _Chop(data.row_tokens, data.row_patches))
    packed = FirstFitPackIterDataset(
        parts,
        length_struct={"cells": data.row_tokens, "patches": data.row_patches},
        num_packing_bins=PACKING_BINS,
        meta_features=("patches",),
    )
    return packed.map(functools.partial(_grain_row, examples)).batch(data.rows, batch_fn=stack_rows)


class AncestorIterator(Iterator[Batch]):
    """Batches [rows, 3·U]. Random documents go into a shuffle buffer, and from it into rows of U patches."""

    def __init__(self, examples: Examples):
        """Fills the shuffle buffer."""
        self._examples, self._data = examples, examples.config.data
        self._seeds = np.random.default_rng(random.getrandbits(64))  # the unseeded generator of the process
        self._buffer = [self._draw() for _ in range(SHUFFLE_DOCUMENTS)]
        examples.source_tokens[:] = (
            0  # from here on, each document that leaves the buffer counts as the one that replaces it
        )
        self._left = self._next_document()

    def __next__(self) -> Batch:
        return stack_rows([self._row() for _ in range(self._data.rows)])

    def _draw(self) -> Int[np.ndarray, "n 3"]:
        (source,) = random.choices(range(len(self._examples.sources)), self._examples.weights)
        records = self._examples.sources[source]
        return self._examples.cells(records[random.randrange(len(records))], self._seeds, source)

    def _next_document(self) -> Int[np.ndarray, "n 3"]:
        place = random.randrange(len(self._buffer))
        document, self._buffer[place] = self._buffer[place], self._draw()
        return document

    def _row(self) -> Batch:
        tokens, units = ANCESTOR_PADDING * self._data.row_patches, self._data.row_patches
        cells, doc_id = np.zeros((tokens, 3), np.int64), np.zeros(tokens, np.int32)
        at, segment = 0, 0
        while at < tokens and units:
            starts = np.flatnonzero(self._left[:, START])
            end = int(starts[units]) if len(starts) > units else len(self._left)
            end = min(end, tokens - at)
            segment += 1
            cells[at : at + end], doc_id[at : at + end] = self._left[:end], segment
            at, units = at + end, units - min(len(starts), units)
            self._left = self._left[end:] if end < len(self._left) else self._next_document()
        return _finish(cells, doc_id)


class _Chop(FlatMapTransform):
    """Cuts a document into `{"cells", "patches"}` of at most T tokens and U patches, where patches start."""

    max_fan_out = 1024

    def __init__(self, tokens: int, units: int):
        self._tokens, self._units = tokens, units

    def flat_map(self, element: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """The parts of a document. Patches are given by their starts, of which the packer only uses the number."""
        cells, parts, first = element["cells"], [], 0
        bound = np.append(np.flatnonzero(cells[:, START]), len(cells))
        while first < len(bound) - 1:
            last = int(np.searchsorted(bound, bound[first] + self._tokens, "right")) - 1
            last = min(last, first + self._units, len(bound) - 1)
            parts.append({"cells": cells[bound[first] : bound[last]], "patches": bound[first:last].astype(np.int32)})
            first = last
        return parts


def _grain_documents(examples: Examples, reading: grain.ReadOptions) -> grain.IterDataset:
    """Endless `{"cells"}` of all sources, mixed by documents, with Grain's own generator for each document."""

    def cells(record, rng, source):
        return {"cells": examples.cells(record, rng, source)}

    parts = [
        grain.MapDataset.source(records)
        .seed(source)
        .shuffle()
        .repeat()
        .random_map(functools.partial(cells, source=source))
        .to_iter_dataset(reading)
        for source, records in enumerate(examples.sources)
    ]
    return grain.IterDataset.mix(parts, examples.weights)


def _grain_row(examples: Examples, packed: dict[str, Any]) -> Batch:
    cells, doc_id = packed["cells"], packed["cells_segment_ids"]
    first = np.diff(doc_id, prepend=0) > 0
    kept = np.cumsum((cells[:, START] > 0) | first) <= examples.config.data.row_patches
    examples.tokens_lost += np.count_nonzero(doc_id[~kept])
    return _finish(cells, np.where(kept, doc_id, 0))


def _finish(cells: np.ndarray, doc_id: np.ndarray) -> Batch:
    """The arrays of a row. The first token of a segment opens a patch, even where a patch was cut."""
    real = doc_id > 0
    same = np.append(doc_id[1:] == doc_id[:-1], False) & real
    token = np.where(real, cells[:, TOKEN], PAD_ID).astype(np.int32)
    target = np.where(same, np.append(token[1:], PAD_ID), PAD_ID).astype(np.int32)
    start = ((cells[:, START] > 0) | (np.diff(doc_id, prepend=0) > 0)) & real
    return Batch(token, target, same.astype(np.float32), doc_id.astype(np.int32), start, (cells[:, END] > 0) & real)
