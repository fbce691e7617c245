"""The rows of a run from its sources: which document goes into which row, and how much of it."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from lst_jax.config import Config
from lst_jax.core.errors import DataError
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import PROMPTED, spans_of
from lst_jax.data.patching import BoundaryRule, strategy_of
from lst_jax.data.read_ahead import AHEAD, THREADS, DocumentReader, ReadPool
from lst_jax.data.records import check_utterance
from lst_jax.data.rng import generator, permuted
from lst_jax.data.row_builder import MIN_SEGMENT, UNLIMITED, Limit, RowBuilder
from lst_jax.data.rows import CONSUMED, MEASURED, OFFSET, OPENED_STEP, ORDINAL, windows_of
from lst_jax.data.text_tokenizer import TextTokenizer

# Shares of U and T that a row is made to fill as far as the mixture allows. Runs promise 0.97 and 0.95 of them.
PATCH_FILL, TOKEN_FILL = 0.98, 0.97
WORDS_PER_TOKEN = 0.4  # a guess for a run's first rows
MOST_SKIPPED = 1000  # utterances in a row that fit no row: then hardly any does


def words_between(example: Example, start: int, end: int) -> int:
    """Number of words in tokens [start, end), where a document's words are taken to lie evenly in its tokens.

    With W words in n tokens there are floor(W · k / n) before token k, so that the counts of the segments add up to W.
    A repeated marker counts no words.
    """
    return example.words * end // len(example.token) - example.words * start // len(example.token)


class Filling:
    """A row while it is filled: its builder, the state of its stream as it moves on, and counts of documents."""

    def __init__(self, builder: RowBuilder, state: Int64[np.ndarray, "S 5"], row: int, step: int):
        """Starts with an empty row. `state` is changed in place."""
        self.builder, self.state, self.row, self.step = builder, state, row, step
        self.opened = dict.fromkeys(
            ("documents_opened", "utterances_opened", "utterances_aligned", "utterances_skipped"), 0
        )


class RowStreams:
    """Makes the rows of one run from its sources. Its only state is which documents it has read, and read ahead."""

    def __init__(
        self,
        config: Config,
        sources: Sequence[Sequence],
        tokenizer: TextTokenizer,
        threads: int = THREADS,
        ahead: int = AHEAD,
        patience_sec: float | None = None,
    ):
        """`sources` holds the records of each of `config.data.sources`, in that order.

        The other arguments are those of `ReadPool` and `DocumentReader`, and change no row.
        """
        self._config, self._data, self._sources = config, config.data, sources
        self._builder = ExampleBuilder.of(config, tokenizer)
        kinds = [s.kind for s in config.data.sources]
        self._strategy = strategy_of(config.data.patching)
        self._noise_frames = config.data.patching.boundary_noise_ms / 1000 * config.data.unit_rate
        self._speech = [i for i, kind in enumerate(kinds) if kind == "utterance"]
        self._text = [i for i, kind in enumerate(kinds) if kind == "text"]
        shares = np.array([s.share for s in config.data.sources])
        self._share_S = shares / shares.sum()
        self._cache: dict[tuple[int, int], tuple[tuple[int, int], Example, BoundaryRule | None]] = {}
        self._pool = ReadPool(threads)
        self._readers = [
            DocumentReader(records, functools.partial(self._index, s), self._data.rows, self._pool, ahead, patience_sec)
            for s, records in enumerate(sources)
        ]

    def close(self) -> None:
        """Stops the threads that read ahead."""
        self._pool.close()

    def next_row(self, state_SF: Int64[np.ndarray, "S 5"], row: int, step: int):
        """Row number `row` of the global batch at `step`.

        Each source is topped up to its share of everything packed so far, this row included, by `data.mixture_measure`.
        This is error diffusion: the shares are exact in the long run, whichever of T and U runs out first.

        Only speech has more tokens than patches, so T and U fill together where the row's speech brings T - U more.
        Utterances come first. They are held between `PATCH_FILL` and `TOKEN_FILL` as long as they are less than half a
        row behind or ahead of their shares. Texts, which can be cut anywhere, take the room that is left.

        Returns: the row (`Batch` of [T] arrays), its `Stats`, and the state after it. `state_SF` is not changed.
        """
        data = self._data
        filling = Filling(
            RowBuilder(
                data.row_tokens,
                data.row_patches,
                len(self._sources),
                self._config.joint_vocab,
                windows_of(self._config),
                data.row_speech_tokens,
                data.row_speech_patches,
            ),
            state_SF.copy(),
            row,
            step,
        )
        most = int(data.row_tokens - PATCH_FILL * data.row_patches) if self._text else UNLIMITED
        least = int(np.ceil(TOKEN_FILL * data.row_tokens - data.row_patches))
        expected = self._expected_measure(state_SF)
        slack = int(expected / 2)
        aim_S = np.floor(self._share_S * (state_SF[:, MEASURED].sum() + expected)).astype(np.int64).tolist()
        for source in self._speech:
            if filling.state[source, MEASURED] < aim_S[source] - slack:
                self._fill(filling, source, aim_S[source] - slack)
            else:
                self._fill(filling, source, aim_S[source], most)
        for source in sorted(self._speech, key=lambda s: filling.state[s, MEASURED] - aim_S[s]):
            if filling.builder.excess < least:
                self._fill(filling, source, aim_S[source] + slack, least)
        for source in self._text:
            self._fill(filling, source, aim_S[source])
        measured = filling.state[:, MEASURED]
        for excess in (most, UNLIMITED):
            for source in np.argsort(measured - self._share_S * measured.sum(), kind="stable").tolist():
                if min(filling.builder.tokens_left, filling.builder.patches_left) >= MIN_SEGMENT:
                    self._fill(filling, source, UNLIMITED, excess)
        batch, stats = filling.builder.finish()
        stats["speech_frames"] = np.int64(self._builder.speech_frames(batch.token_BT))
        return batch, {**stats, **{key: np.int64(count) for key, count in filling.opened.items()}}, filling.state

    def _expected_measure(self, state_SF) -> float:
        """About how much of what the mixture counts a row holds. Words go by the rate so far, in the first rows by a guess."""
        if self._data.mixture_measure == "tokens":
            return float(self._data.row_tokens)
        if self._data.mixture_measure == "patches":
            return float(self._data.row_patches)
        consumed, measured = state_SF[:, CONSUMED].sum(), state_SF[:, MEASURED].sum()
        tokens = self._data.row_tokens
        return float(tokens * (measured + WORDS_PER_TOKEN * tokens) / (consumed + tokens))

    def _fill(self, filling: "Filling", source: int, aim: int, excess: int = UNLIMITED) -> None:
        """Adds segments of one source until it has `aim` in all, the row has `excess`, or T or U is full."""
        own, builder, opened, skipped = filling.state[source], filling.builder, filling.opened, 0
        whole = source in self._speech and self._data.documents in PROMPTED
        while own[MEASURED] < aim:
            example, rule = self._example(own, source, filling.row, filling.step)
            start, excess_left = int(own[OFFSET]), max(0, excess - builder.excess)
            if whole and not (example.words and builder.holds(example, if_empty=True)):
                own[ORDINAL] += 1
                opened["utterances_skipped"] += 1
                skipped = self._skipped_once_more(source, skipped)
                continue
            if whole or self._waits(source, example, start, builder):
                fits = builder.holds(example) and len(example.token) - example.patches_before[-1] <= excess_left
                end = len(example.token) if fits else start
            else:
                limit = self._limit(example, start, aim - int(own[MEASURED]))
                end = builder.fit(example, start, limit._replace(excess=excess_left))
            if end == start:
                return
            if start == 0:
                own[OPENED_STEP] = filling.step
                opened["documents_opened"] += 1
                opened["utterances_opened"] += rule is not None
                opened["utterances_aligned"] += rule is not None and rule.needs_words
            tokens, patches = builder.add(example, start, end, source)
            own[CONSUMED] += tokens
            own[MEASURED] += {"tokens": tokens, "patches": patches, "words": words_between(example, start, end)}[
                self._data.mixture_measure
            ]
            own[OFFSET] = end
            if end == len(example.token):
                own[ORDINAL] += 1
                own[OFFSET] = 0

    def _waits(self, source: int, example: Example, start: int, builder: RowBuilder) -> bool:
        """Whether a document that has not begun is not to be cut."""
        keeps = self._data.whole_utterances and source in self._speech
        return keeps and start == 0 and builder.holds(example, if_empty=True)

    def _skipped_once_more(self, source: int, times: int) -> int:
        if times < MOST_SKIPPED:
            return times + 1
        data = self._data
        raise DataError(
            f"{data.sources[source].path}: {times} utterances in a row have no words, or do not fit "
            f"data.row_tokens={data.row_tokens} and data.row_patches={data.row_patches}, and "
            f"data.documents={data.documents!r} cuts none; use longer rows"
        )

    def _limit(self, example: Example, start: int, amount: int) -> Limit:
        """The limit of a segment from `start` on that may hold `amount` of what the mixture counts."""
        if self._data.mixture_measure == "tokens":
            return Limit(tokens=amount)
        if self._data.mixture_measure == "patches":
            return Limit(patches=amount)
        if not example.words:
            return Limit()
        # The last position with at most so many words before it, and room for a repeated marker
        words = example.words * start // len(example.token) + amount
        return Limit(tokens=((words + 1) * len(example.token) - 1) // example.words - start + 1)

    def _example(self, own, source: int, row: int, step: int) -> tuple[Example, BoundaryRule | None]:
        """The document at which the stream stands, and its boundary rule; None for a text."""
        opened_step = int(own[OPENED_STEP]) if own[OFFSET] else step
        key = (int(own[ORDINAL]), opened_step)
        cached = self._cache.get((row, source))
        if cached is None or cached[0] != key:
            number = key[0] * self._data.rows + row
            cached = (key, *self._build(source, number, opened_step))
            self._cache[row, source] = cached
        return cached[1], cached[2]

    def _build(self, source: int, number: int, opened_step: int) -> tuple[Example, BoundaryRule | None]:
        settings = self._data.sources[source]
        index, record = self._readers[source].read(number)
        if settings.kind == "text":
            return self._builder.text(record), None
        epoch = number // len(self._sources[source])
        key = (self._config.seed, settings.name, epoch, index)
        try:
            check_utterance(record, self._builder.codebook_size)
        except DataError as error:
            raise DataError(f"{settings.path}: record {index}: {error}") from error
        documents = self._data.documents
        spans = spans_of(documents, record, self._data.interleave, generator(*key, "interleave"))
        rule = self._strategy.draw(opened_step, lambda: generator(*key, "patching"))
        if self._noise_frames:
            rule = rule.with_noise(self._noise_frames, generator(*key, "noise"))
        return self._builder.interleaved(record, spans, rule, documents in PROMPTED), rule

    def _index(self, source: int, number: int) -> int:
        """The record that is document `number` of a source: each epoch is a shuffle of its own."""
        name, records = self._data.sources[source].name, len(self._sources[source])
        epoch, position = divmod(number, records)
        return permuted(position, records, self._config.seed, name, epoch)
