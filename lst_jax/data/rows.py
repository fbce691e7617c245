"""Rows of fixed shape: each row of the global batch is a stream of its own that is restored from a few integers.

Row r of a batch of B rows keeps four integers per source (`ORDINAL`, `OFFSET`, `OPENED_STEP`, `CONSUMED`): it reads
document number `ordinal * B + r` of that source, has emitted `offset` of its tokens, opened it at step `opened_step`,
and has taken `consumed` tokens from the source in all. A row at a step is a pure function of the config, r and these.

Example, T=16 tokens, U=16 unit positions, one source whose documents are `BOS <t> a..t EOS`, all patches of 1:

    step 0   BOS <t> a b c d e f g h i j k l m n           state (ordinal 0, offset 16)
    step 1   <t> o p q r s t EOS | BOS <t> a b c d e f     the marker is emitted again, in front of what is left
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from sentencepiece import SentencePieceProcessor

from lst_jax.config import Config
from lst_jax.data import patching
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import interleave
from lst_jax.data.records import check_utterance
from lst_jax.data.rng import generator, permuted
from lst_jax.errors import DataError
from lst_jax.vocab import PAD_ID, Vocab

ORDINAL, OFFSET, OPENED_STEP, CONSUMED = range(4)
STATE_FIELDS = 4
MIN_PIECE = 8  # tokens; a shorter piece that does not finish its document is mostly marker
Stats = dict[str, Any]  # numpy int64 scalars, and arrays [sources]; they add up over rows and steps


class Batch(NamedTuple):
    """Rows for the model; a single row has the same fields without the leading dimension.

    `target_BT` is the next token of the same piece where `weight_BT` is 1; `doc_id_BT` counts pieces from 1, and 0 is
    padding. `patch_end_BT` is True where the patch is complete and that is known without what follows.
    """

    token_BT: Int32[np.ndarray, "B T"]
    target_BT: Int32[np.ndarray, "B T"]
    weight_BT: Float32[np.ndarray, "B T"]
    doc_id_BT: Int32[np.ndarray, "B T"]
    patch_start_BT: Bool[np.ndarray, "B T"]
    patch_end_BT: Bool[np.ndarray, "B T"]


class Windows(NamedTuple):
    """Attention windows, for counting pairs: of the three networks in positions (None = all earlier ones), and of the
    two cross-attentions in patches."""

    encoder: int | None
    global_: int | None
    decoder: int | None
    encoder_cross: int
    decoder_cross: int


def windows_of(config: Config) -> Windows:
    """The windows of the model; a missing local network has None."""
    m = config.model
    return Windows(m.patch_encoder and m.patch_encoder.window, m.global_transformer.window,
                   m.patch_decoder and m.patch_decoder.window, m.encoder_cross_window, m.decoder_cross_window)


def initial_state(rows: int, sources: int) -> Int64[np.ndarray, "B S 4"]:
    """Every stream before its first document."""
    return np.zeros((rows, sources, STATE_FIELDS), np.int64)


def causal_pairs(length: int, window: int | None) -> int:
    """Query-key pairs of `length` positions that see themselves and what is before them within `window`."""
    full = length if window is None else min(length, window)
    return full * (full + 1) // 2 + (length - full) * full


class RowBuilder:
    """One row while it is filled with pieces of documents, and its counts."""

    def __init__(self, tokens: int, units: int, sources: int, vocab: Vocab, windows: Windows):
        """An empty row with room for `tokens` and `units`."""
        self.token = np.full(tokens, PAD_ID, np.int32)
        self.doc_id = np.zeros(tokens, np.int32)
        self.patch_start = np.zeros(tokens, bool)
        self.patch_end = np.zeros(tokens, bool)
        self.tokens_left, self.units_left = tokens, units
        self._vocab, self._windows = vocab, windows
        self._counts = dict.fromkeys(("pieces", "pieces_cut", "patches_split", "markers_repeated", "encoder_pairs",
                                      "global_pairs", "decoder_pairs", "encoder_cross_pairs", "decoder_cross_pairs"), 0)
        self._source_tokens = np.zeros(sources, np.int64)

    def fit(self, example: Example, start: int, limit: int) -> int:
        """The position before which a piece that begins at `start` ends, given at most `limit` tokens.

        It is `start` where nothing fits; else a patch boundary, except inside a patch longer than a whole row holds.
        """
        repeated = self._repeats_marker(example, start)
        room, units = min(limit, self.tokens_left) - repeated, self.units_left - repeated
        length, bound = len(example.token), example.boundary
        if room <= 0 or units <= 0:
            return start
        first = np.searchsorted(bound, start, "right") - 1
        last = min(np.searchsorted(bound, start + room, "right") - 1, first + units, len(bound) - 1)
        end = int(max(bound[last], start))
        if end == length:
            return end
        unit_bound = last - first == units
        if not unit_bound and bound[last + 1] - end > len(self.token) - 2:
            end = start + room
        if room + repeated < MIN_PIECE or (unit_bound and end - start + repeated < MIN_PIECE):
            return start
        while end > start and (end == 1 or example.token[end - 1] in self._markers):
            end -= 1  # BOS or a marker alone at the end of a piece teaches nothing: it goes with what it opens
        return end

    def add(self, example: Example, start: int, end: int, source: int) -> int:
        """Appends tokens [start, end) of `example`, behind its marker where it continues. Returns the tokens taken."""
        repeated = self._repeats_marker(example, start)
        at = len(self.token) - self.tokens_left
        stop = at + repeated + end - start
        if repeated:
            self.token[at] = self._marker(example, start)
            self.patch_start[at] = self.patch_end[at] = True
        for row, whole in ((self.token, example.token), (self.patch_start, example.patch_start),
                           (self.patch_end, example.patch_end)):
            row[at + repeated:stop] = whole[start:end]
        self.patch_start[at + repeated] = True  # where a split patch goes on
        self.doc_id[at:stop] = self._counts["pieces"] + 1
        units = int(np.count_nonzero(self.patch_start[at:stop]))
        self.tokens_left -= stop - at
        self.units_left -= units
        self._count(example, end, repeated, slice(at, stop), units)
        self._source_tokens[source] += stop - at
        return stop - at

    def finish(self) -> tuple[Batch, Stats]:
        """The row with targets and weights, and its counts."""
        token, doc = self.token, self.doc_id
        same = np.zeros(len(token), bool)
        same[:-1] = (doc[1:] == doc[:-1]) & (doc[1:] > 0)
        target = np.full_like(token, PAD_ID)
        target[:-1][same[:-1]] = token[1:][same[:-1]]
        speech = self._vocab.is_speech(token)
        units = np.count_nonzero(self.patch_start)
        stats = {"tokens": len(token) - self.tokens_left, "units": units, **self._counts,
                 "speech_units": np.count_nonzero(speech),
                 "speech_patches": np.count_nonzero(speech & self.patch_start)}
        batch = Batch(token, target, same.astype(np.float32), doc, self.patch_start, self.patch_end)
        return batch, {**{k: np.int64(v) for k, v in stats.items()}, "source_tokens": self._source_tokens}

    @property
    def _markers(self) -> tuple[int, int]:
        return self._vocab.text_marker, self._vocab.speech_marker

    def _repeats_marker(self, example: Example, start: int) -> int:
        return int(start > 0 and example.token[start] not in self._markers)

    def _marker(self, example: Example, start: int) -> int:
        """Marker of the span that position `start` is in; EOS belongs to the span before it."""
        inside = example.token[start - (start == len(example.token) - 1)]
        return self._vocab.speech_marker if inside >= self._vocab.speech_marker else self._vocab.text_marker

    def _count(self, example: Example, end: int, repeated: int, piece: slice, units: int) -> None:
        counts, tokens = self._counts, piece.stop - piece.start
        patch_n = np.cumsum(self.patch_start[piece])  # 1 for the tokens of the piece's first patch
        visible_n = patch_n - ~self.patch_end[piece]  # patches complete at each token
        counts["encoder_cross_pairs"] += int(np.minimum(units + 1 - patch_n, self._windows.encoder_cross).sum())
        counts["decoder_cross_pairs"] += int(np.minimum(visible_n, self._windows.decoder_cross).sum())
        counts["pieces"] += 1
        counts["pieces_cut"] += end < len(example.token)
        counts["patches_split"] += end < len(example.token) and not example.patch_start[end]
        counts["markers_repeated"] += repeated
        counts["encoder_pairs"] += causal_pairs(tokens, self._windows.encoder)
        counts["global_pairs"] += causal_pairs(units, self._windows.global_)
        counts["decoder_pairs"] += causal_pairs(tokens, self._windows.decoder)


def add_stats(stats: Sequence[Stats]) -> Stats:
    """The sum of counts with the same keys, over rows or steps."""
    return {key: sum(s[key] for s in stats[1:]) + stats[0][key] for key in stats[0]}


def stack_rows(rows: Sequence[Batch]) -> Batch:
    """Rows of [T] arrays to one batch of [B, T] arrays."""
    return Batch(*[np.stack(column) for column in zip(*rows, strict=True)])


class RowStreams:
    """Makes the rows of one run from its sources; holds no state but a cache of the documents last read."""

    def __init__(self, config: Config, sources: Sequence[Sequence], tokenizer: SentencePieceProcessor):
        """`sources` holds the records of each of `config.data.sources`, in that order."""
        self._config, self._data, self._sources = config, config.data, sources
        self._builder = ExampleBuilder(config.joint_vocab, tokenizer, config.data.patching.static_size)
        shares = np.array([s.share for s in config.data.sources])
        self._share_S = shares / shares.sum()
        self._cache: dict[tuple[int, int], tuple[tuple[int, int], Example, str]] = {}

    def next_row(self, state_S4: Int64[np.ndarray, "S 4"], row: int, step: int):
        """Row number `row` of the global batch at `step`.

        Every source gets the tokens it lacks of its share of all tokens so far and in this row (error diffusion: the
        shares are exact in the long run, whichever of T and U runs out); what room is left goes to the source that
        lacks most.

        Returns: the row (`Batch` of [T] arrays), its `Stats`, and the state after it; `state_S4` is not changed.
        """
        state = state_S4.copy()
        data = self._data
        row_builder = RowBuilder(data.row_tokens, data.row_units, len(self._sources), self._config.joint_vocab,
                                 windows_of(self._config))
        opened = dict.fromkeys(("documents_opened", "utterances_opened", "utterances_aligned"), np.int64(0))
        wanted_S = np.floor(self._share_S * (state[:, CONSUMED].sum() + data.row_tokens)).astype(np.int64)
        for source, quota in enumerate(np.maximum(wanted_S - state[:, CONSUMED], 0).tolist()):
            self._fill(row_builder, state, source, row, step, quota, opened)
        lacking_S = state[:, CONSUMED] - self._share_S * state[:, CONSUMED].sum()
        for source in np.argsort(lacking_S, kind="stable").tolist():
            if min(row_builder.tokens_left, row_builder.units_left) >= MIN_PIECE:
                self._fill(row_builder, state, source, row, step, data.row_tokens, opened)
        batch, stats = row_builder.finish()
        return batch, {**stats, **opened}, state

    def _fill(self, row_builder: RowBuilder, state, source: int, row: int, step: int, limit: int, opened: Stats):
        """Adds pieces of one source until `limit` tokens, T or U stop it; updates `state` and `opened` in place."""
        own = state[source]
        while limit > 0:
            example, policy = self._example(own, source, row, step)
            start = int(own[OFFSET])
            end = row_builder.fit(example, start, limit)
            if end == start:
                return
            if start == 0:
                own[OPENED_STEP] = step
                opened["documents_opened"] += 1
                opened["utterances_opened"] += policy != "text"
                opened["utterances_aligned"] += policy == "aligned"
            taken = row_builder.add(example, start, end, source)
            limit -= taken
            own[CONSUMED] += taken
            own[OFFSET] = end
            if end == len(example.token):
                own[ORDINAL] += 1
                own[OFFSET] = 0

    def _example(self, own, source: int, row: int, step: int) -> tuple[Example, str]:
        """The document that the stream stands in, and its patching policy ("text" for a text)."""
        opened_step = int(own[OPENED_STEP]) if own[OFFSET] else step
        key = (int(own[ORDINAL]), opened_step)
        cached = self._cache.get((row, source))
        if cached is None or cached[0] != key:
            number = key[0] * self._data.rows + row
            cached = (key, *self._build(source, number, opened_step))
            self._cache[row, source] = cached
        return cached[1], cached[2]

    def _build(self, source: int, number: int, opened_step: int) -> tuple[Example, str]:
        settings, records = self._data.sources[source], self._sources[source]
        epoch, position = divmod(number, len(records))
        index = permuted(position, len(records), self._config.seed, settings.name, epoch)
        record = records[index]
        if settings.kind == "text":
            return self._builder.text(record), "text"
        key = (self._config.seed, settings.name, epoch, index)
        try:
            check_utterance(record, self._config.vocab.unit_slots)
        except DataError as error:
            raise DataError(f"{settings.path}: record {index}: {error}") from error
        spans = interleave(record, self._data.interleave, generator(*key, "interleave"))
        policy = patching.draw_policy(opened_step, self._data.patching, lambda: generator(*key, "patching"))
        return self._builder.interleaved(record, spans, policy), policy
