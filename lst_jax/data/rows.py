"""Rows of fixed shape: each row of the global batch is a stream of its own that is restored from a few integers.

Row r of a batch of B rows keeps five integers per source (`ORDINAL`, `OFFSET`, `OPENED_STEP`, `CONSUMED`, `MEASURED`):
it reads document number `ordinal * B + r` of that source, has emitted `offset` of its tokens, opened it at step
`opened_step`, and has taken `consumed` tokens from the source in all, which are `measured` of what the mixture counts.
A row at a step is a pure function of the config, r and these.

Example, T=16 tokens, U=16 unit positions, one source whose documents are `BOS <t> a..t EOS`, all patches of 1:

    step 0   BOS <t> a b c d e f g h i j k l m n           state (ordinal 0, offset 16)
    step 1   <t> o p q r s t EOS | BOS <t> a b c d e f     the marker is emitted again, in front of what is left
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from sentencepiece import SentencePieceProcessor

from lst_jax.config import Config
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import PAD_ID, Vocab
from lst_jax.data import patching
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import PROMPTED, spans_of
from lst_jax.data.records import check_utterance
from lst_jax.data.rng import generator, permuted

ORDINAL, OFFSET, OPENED_STEP, CONSUMED, MEASURED = range(5)
STATE_FIELDS = 5
MIN_PIECE = 8  # tokens; a shorter piece that does not finish its document is mostly marker
# Shares of U and T that a row is made to fill while the mixture allows; the runs promise 0.97 and 0.95 of them
UNIT_FILL, TOKEN_FILL = 0.98, 0.97
WORDS_A_TOKEN = 0.4  # a guess for a run's first rows
UNLIMITED = 1 << 40
MOST_SKIPPED = 1000  # utterances one after the other that no row holds: then hardly any does
Stats = dict[str, Any]  # numpy int64 scalars, and arrays [sources]; they add up over rows and steps


class Batch(NamedTuple):
    """Rows for the model; a single row has the same fields without the leading dimension.

    `target_BT` is the next token of the same piece where `weight_BT` is 1, which is all of them but those in a prompt
    (`Example.loss_from`). `doc_id_BT` counts pieces from 1, and 0 is padding. `patch_end_BT` is True where the patch is
    complete and that is known without what follows.
    """

    token_BT: Int32[np.ndarray, "B T"]
    target_BT: Int32[np.ndarray, "B T"]
    weight_BT: Float32[np.ndarray, "B T"]
    doc_id_BT: Int32[np.ndarray, "B T"]
    patch_start_BT: Bool[np.ndarray, "B T"]
    patch_end_BT: Bool[np.ndarray, "B T"]


BATCH_TYPES = Batch(np.int32, np.int32, np.float32, np.int32, np.bool_, np.bool_)


class Windows(NamedTuple):
    """Attention windows, for counting pairs: of the three networks in positions (None = all earlier ones), and of the
    two cross-attentions in patches; and the least token id that passes the local networks."""

    encoder: int | None
    global_: int | None
    decoder: int | None
    encoder_cross: int
    decoder_cross: int
    local_from: int


def windows_of(config: Config) -> Windows:
    """The windows of the model; a missing local network has None."""
    m = config.model
    return Windows(
        m.patch_encoder and m.patch_encoder.window,
        m.global_transformer.window,
        m.patch_decoder and m.patch_decoder.window,
        m.encoder_cross_window,
        m.decoder_cross_window,
        # a bound on the speech of a row is there exactly where speech alone passes the local networks
        0 if config.data.row_speech_tokens is None else config.joint_vocab.speech_marker,
    )


def initial_state(rows: int, sources: int) -> Int64[np.ndarray, "B S 5"]:
    """Every stream before its first document."""
    return np.zeros((rows, sources, STATE_FIELDS), np.int64)


def causal_pairs(length: int, window: int | None) -> int:
    """Query-key pairs of `length` positions that see themselves and what is before them within `window`."""
    full = length if window is None else min(length, window)
    return full * (full + 1) // 2 + (length - full) * full


class Limit(NamedTuple):
    """How much a piece may hold; `excess` is of tokens over unit positions."""

    tokens: int = UNLIMITED
    units: int = UNLIMITED
    excess: int = UNLIMITED


class RowBuilder:
    """One row while it is filled with pieces of documents, and its counts."""

    def __init__(
        self, tokens: int, units: int, sources: int, vocab: Vocab, windows: Windows, local_tokens: int | None = None
    ):
        """An empty row with room for `tokens` and `units`, of which `local_tokens` may pass the local networks."""
        self.token = np.full(tokens, PAD_ID, np.int32)
        self.doc_id = np.zeros(tokens, np.int32)
        self.patch_start = np.zeros(tokens, bool)
        self.patch_end = np.zeros(tokens, bool)
        self._is_learned = np.zeros(tokens, bool)  # the loss is on the prediction of this token
        self.row_patches = units
        self.tokens_left, self.units_left = tokens, units
        self.local_left = tokens if local_tokens is None else local_tokens
        self._room = tokens, units, self.local_left
        self._longest = min(tokens - 2, self.local_left - 1)  # units that fit behind BOS and a marker
        self._vocab, self._windows = vocab, windows
        self._counts = dict.fromkeys(
            (
                "pieces",
                "pieces_cut",
                "speech_cut",
                "words_cut",
                "patches_split",
                "markers_repeated",
                "encoder_pairs",
                "global_pairs",
                "decoder_pairs",
                "encoder_cross_pairs",
                "decoder_cross_pairs",
                "local_tokens",
                "local_units",
            ),
            0,
        )
        self._source_tokens = np.zeros(sources, np.int64)

    @property
    def excess(self) -> int:
        """Tokens over unit positions in the row so far; only speech has any."""
        return len(self.token) - self.tokens_left - (self.row_patches - self.units_left)

    def fit(self, example: Example, start: int, limit: Limit) -> int:
        """The position before which a piece that begins at `start` ends.

        It is `start` where nothing fits; else one where `example.cut` allows it. Between two such positions that are
        further apart than a whole row holds (a minute of silence) it is a patch boundary, and within a patch that is
        longer than that it is anywhere.
        """
        repeated = self._repeats_marker(example, start)
        tokens, units = min(limit.tokens, self.tokens_left) - repeated, min(limit.units, self.units_left) - repeated
        if tokens <= 0 or units <= 0:
            return start
        piece = example.tail(start, 2 * len(self.token))  # as far as matters
        tokens = min(tokens, self._local_room(piece.token, self._marker(example, start) if repeated else -1))
        pos, before = piece.cut_pos, piece.units_before
        last = (
            min(
                np.searchsorted(pos, tokens, "right"),
                np.searchsorted(before, units, "right"),
                np.searchsorted(pos - before, limit.excess, "right"),
            )
            - 1
        )
        end = int(pos[last])
        if start + end == len(example.token):
            return len(example.token)
        if tokens + repeated < MIN_PIECE:
            return start
        if pos[last + 1] - end > self._longest or before[last + 1] - before[last] > self.row_patches - 2:
            end = self._break(piece, end, tokens, units, limit.excess)
        if end + repeated < MIN_PIECE and min(self.tokens_left, *limit) < len(self.token):
            return start  # an empty row that may take anything takes this
        while end > 0 and (start + end == 1 or piece.token[end - 1] in self._markers):
            end -= 1  # BOS or a marker alone at the end of a piece teaches nothing: it goes with what it opens
        return start + end

    def holds(self, example: Example, if_empty: bool = False) -> bool:
        """Whether all of it fits into what is left of the row, or into a whole one."""
        needed = (
            len(example.token),
            int(example.units_before[-1]),
            int(np.count_nonzero(example.token >= self._windows.local_from)),
        )
        room = self._room if if_empty else (self.tokens_left, self.units_left, self.local_left)
        return all(n <= r for n, r in zip(needed, room, strict=True))

    def add(self, example: Example, start: int, end: int, source: int) -> tuple[int, int]:
        """Appends tokens [start, end) of `example`, behind its marker where it continues.

        Returns: the tokens and the unit positions taken.
        """
        repeated = self._repeats_marker(example, start)
        at = len(self.token) - self.tokens_left
        stop = at + repeated + end - start
        if repeated:
            self.token[at] = self._marker(example, start)
            self.patch_start[at] = self.patch_end[at] = True
        piece = example.tail(start, end - start + 1)  # one more tells whether the end cuts a patch
        for row, some in (
            (self.token, piece.token),
            (self.patch_start, piece.patch_start),
            (self.patch_end, piece.patch_end),
        ):
            row[at + repeated : stop] = some[: end - start]
        self.doc_id[at:stop] = self._counts["pieces"] + 1
        self._is_learned[at + repeated : stop] = np.arange(start, end) >= example.loss_from
        units = int(np.count_nonzero(self.patch_start[at:stop]))
        self.tokens_left -= stop - at
        self.units_left -= units
        self.local_left -= int(np.count_nonzero(self._is_local(slice(at, stop))))
        assert self.local_left >= 0, (start, end)
        self._count(piece, end - start, repeated, slice(at, stop), units)
        self._source_tokens[source] += stop - at
        return stop - at, units

    def finish(self) -> tuple[Batch, Stats]:
        """The row with targets and weights, and its counts."""
        token, doc = self.token, self.doc_id
        same = np.zeros(len(token), bool)
        same[:-1] = (doc[1:] == doc[:-1]) & (doc[1:] > 0)
        target = np.full_like(token, PAD_ID)
        target[:-1][same[:-1]] = token[1:][same[:-1]]
        weight = np.zeros(len(token), np.float32)
        weight[:-1] = same[:-1] & self._is_learned[1:]
        speech = self._vocab.is_speech(token)
        units = np.count_nonzero(self.patch_start)
        stats = {
            "tokens": len(token) - self.tokens_left,
            "units": units,
            **self._counts,
            "speech_units": np.count_nonzero(speech),
            "speech_patches": np.count_nonzero(speech & self.patch_start),
        }
        batch = Batch(token, target, weight, doc, self.patch_start, self.patch_end)
        return batch, {**{k: np.int64(v) for k, v in stats.items()}, "source_tokens": self._source_tokens}

    @property
    def _markers(self) -> tuple[int, int]:
        return self._vocab.text_marker, self._vocab.speech_marker

    def _is_local(self, piece: slice) -> Bool[np.ndarray, "n"]:
        return self.token[piece] >= self._windows.local_from

    def _local_room(self, token, marker: int) -> int:
        """How many of these tokens fit, behind `marker` (-1 = none), with what may still pass the local networks."""
        room = self.local_left - (marker >= self._windows.local_from)
        return int(np.searchsorted(np.cumsum(token >= self._windows.local_from), room, "right"))

    def _repeats_marker(self, example: Example, start: int) -> int:
        return int(start > 0 and example.token[start] not in self._markers)

    def _marker(self, example: Example, start: int) -> int:
        """Marker of the span that position `start` is in; EOS belongs to the span before it."""
        inside = example.token[start - (start == len(example.token) - 1)]
        return self._vocab.speech_marker if inside >= self._vocab.speech_marker else self._vocab.text_marker

    def _break(self, piece: Example, end: int, tokens: int, units: int, excess: int) -> int:
        """The last patch boundary that fits; or any place, in a patch longer than a row; or `end`, if that is later."""
        starts = np.append(np.flatnonzero(piece.patch_start), len(piece.token))
        number = np.arange(len(starts))
        last = min(
            np.searchsorted(starts, tokens, "right") - 1, units, np.searchsorted(starts - number, excess, "right") - 1
        )
        if last < min(units, len(starts) - 1) and starts[last + 1] - starts[last] > self._longest:
            return max(end, min(tokens, int(last) + 1 + excess))
        return max(end, int(starts[min(last, len(starts) - 2)]))

    def _count(self, example: Example, end: int, repeated: int, piece: slice, units: int) -> None:
        """Counts tokens [0, end) of `example`, which lie at `piece` of the row; it goes on behind them if it is cut."""
        counts = self._counts
        is_local = self._is_local(piece)
        patch_n = np.cumsum(self.patch_start[piece][is_local])  # 1 for the tokens of the piece's first local patch
        visible_n = patch_n - ~self.patch_end[piece][is_local]  # local patches complete at each token
        local_tokens, local_units = len(patch_n), int(patch_n[-1]) if len(patch_n) else 0
        counts["local_tokens"] += local_tokens
        counts["local_units"] += local_units
        counts["encoder_cross_pairs"] += int(np.minimum(local_units + 1 - patch_n, self._windows.encoder_cross).sum())
        counts["decoder_cross_pairs"] += int(np.minimum(visible_n, self._windows.decoder_cross).sum())
        counts["pieces"] += 1
        if end < len(example.token):
            counts["pieces_cut"] += 1
            counts["speech_cut"] += bool(self._vocab.is_speech(example.token[end - 1 : end + 1]).all())
            counts["words_cut"] += not example.cut[end]
            counts["patches_split"] += not example.cut[end] and not example.patch_start[end]
        counts["markers_repeated"] += repeated
        counts["encoder_pairs"] += causal_pairs(local_tokens, self._windows.encoder)
        counts["global_pairs"] += causal_pairs(units, self._windows.global_)
        counts["decoder_pairs"] += causal_pairs(local_tokens, self._windows.decoder)


def words_between(example: Example, start: int, end: int) -> int:
    """Words in tokens [start, end): a document's words, written or spoken, are spread evenly over its tokens.

    With W words in n tokens there are floor(W · k / n) before token k, so that the pieces' counts add up to W; a marker
    that is repeated counts none.
    """
    return example.words * end // len(example.token) - example.words * start // len(example.token)


def add_stats(stats: Sequence[Stats]) -> Stats:
    """The sum of counts with the same keys, over rows or steps."""
    return {key: sum(s[key] for s in stats[1:]) + stats[0][key] for key in stats[0]}


def stack_rows(rows: Sequence[Batch]) -> Batch:
    """Rows of [T] arrays to one batch of [B, T] arrays."""
    return Batch(*[np.stack(column) for column in zip(*rows, strict=True)])


class Filling:
    """A row at work: its builder, the state of its stream as it moves on, and the documents opened."""

    def __init__(self, builder: RowBuilder, state: Int64[np.ndarray, "S 5"], row: int, step: int):
        """Starts with an empty row; `state` is changed in place."""
        self.builder, self.state, self.row, self.step = builder, state, row, step
        self.opened = dict.fromkeys(
            ("documents_opened", "utterances_opened", "utterances_aligned", "utterances_skipped"), 0
        )


class RowStreams:
    """Makes the rows of one run from its sources; holds no state but a cache of the documents last read."""

    def __init__(self, config: Config, sources: Sequence[Sequence], tokenizer: SentencePieceProcessor):
        """`sources` holds the records of each of `config.data.sources`, in that order."""
        self._config, self._data, self._sources = config, config.data, sources
        self._builder = ExampleBuilder.of(config, tokenizer)
        kinds = [s.kind for s in config.data.sources]
        self._speech = [i for i, kind in enumerate(kinds) if kind == "utterance"]
        self._text = [i for i, kind in enumerate(kinds) if kind == "text"]
        shares = np.array([s.share for s in config.data.sources])
        self._share_S = shares / shares.sum()
        self._cache: dict[tuple[int, int], tuple[tuple[int, int], Example, str]] = {}

    def next_row(self, state_SF: Int64[np.ndarray, "S 5"], row: int, step: int):
        """Row number `row` of the global batch at `step`.

        Every source gets what it lacks of its share of all so far and in this row, by `data.mixture_measure` (error
        diffusion: the shares are exact in the long run, whichever of T and U runs out). Only speech has more tokens
        than unit positions, so T and U fill together where the row's speech brings T - U more. Utterances come first
        and are held near that, between `UNIT_FILL` and `TOKEN_FILL`, while they are less than half a row behind or
        ahead of their shares; texts, which can be cut anywhere, take the room that is left.

        Returns: the row (`Batch` of [T] arrays), its `Stats`, and the state after it; `state_SF` is not changed.
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
            ),
            state_SF.copy(),
            row,
            step,
        )
        most = int(data.row_tokens - UNIT_FILL * data.row_patches) if self._text else UNLIMITED
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
                if min(filling.builder.tokens_left, filling.builder.units_left) >= MIN_PIECE:
                    self._fill(filling, source, UNLIMITED, excess)
        batch, stats = filling.builder.finish()
        stats["speech_frames"] = np.int64(self._builder.speech_frames(batch.token_BT))
        return batch, {**stats, **{key: np.int64(count) for key, count in filling.opened.items()}}, filling.state

    def _expected_measure(self, state_SF) -> float:
        """About what a row holds of what the mixture counts; words by the rate so far, in the first rows by a guess."""
        if self._data.mixture_measure == "tokens":
            return float(self._data.row_tokens)
        if self._data.mixture_measure == "units":
            return float(self._data.row_patches)
        consumed, measured = state_SF[:, CONSUMED].sum(), state_SF[:, MEASURED].sum()
        tokens = self._data.row_tokens
        return float(tokens * (measured + WORDS_A_TOKEN * tokens) / (consumed + tokens))

    def _fill(self, filling: "Filling", source: int, aim: int, excess: int = UNLIMITED) -> None:
        """Adds pieces of one source until it has `aim` in all, the row has `excess`, or T or U stop it."""
        own, builder, opened, skipped = filling.state[source], filling.builder, filling.opened, 0
        whole = source in self._speech and self._data.documents in PROMPTED
        while own[MEASURED] < aim:
            example, policy = self._example(own, source, filling.row, filling.step)
            start, excess_left = int(own[OFFSET]), max(0, excess - builder.excess)
            if whole and not (example.words and builder.holds(example, if_empty=True)):
                own[ORDINAL] += 1
                opened["utterances_skipped"] += 1
                skipped = self._skipped_once_more(source, skipped)
                continue
            if whole:
                fits = builder.holds(example) and len(example.token) - example.units_before[-1] <= excess_left
                end = len(example.token) if fits else start
            else:
                limit = self._limit(example, start, aim - int(own[MEASURED]))
                end = builder.fit(example, start, limit._replace(excess=excess_left))
            if end == start:
                return
            if start == 0:
                own[OPENED_STEP] = filling.step
                opened["documents_opened"] += 1
                opened["utterances_opened"] += policy != "text"
                opened["utterances_aligned"] += policy in patching.ALIGNED.values()
            tokens, units = builder.add(example, start, end, source)
            own[CONSUMED] += tokens
            own[MEASURED] += {"tokens": tokens, "units": units, "words": words_between(example, start, end)}[
                self._data.mixture_measure
            ]
            own[OFFSET] = end
            if end == len(example.token):
                own[ORDINAL] += 1
                own[OFFSET] = 0

    def _skipped_once_more(self, source: int, times: int) -> int:
        if times < MOST_SKIPPED:
            return times + 1
        data = self._data
        raise DataError(
            f"{data.sources[source].path}: {times} utterances one after the other have no words, or do not "
            f"fit data.row_tokens={data.row_tokens} and data.row_patches={data.row_patches}, and "
            f"data.documents={data.documents!r} cuts none; use longer rows"
        )

    def _limit(self, example: Example, start: int, amount: int) -> Limit:
        """A piece from `start` on may hold `amount` of what the mixture counts."""
        if self._data.mixture_measure == "tokens":
            return Limit(tokens=amount)
        if self._data.mixture_measure == "units":
            return Limit(units=amount)
        if not example.words:
            return Limit()
        # the last position with at most so many words before it, and room for a repeated marker
        words = example.words * start // len(example.token) + amount
        return Limit(tokens=((words + 1) * len(example.token) - 1) // example.words - start + 1)

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
            check_utterance(record, self._builder.codebook_size)
        except DataError as error:
            raise DataError(f"{settings.path}: record {index}: {error}") from error
        documents = self._data.documents
        spans = spans_of(documents, record, self._data.interleave, generator(*key, "interleave"))
        policy = patching.draw_policy(opened_step, self._data.patching, lambda: generator(*key, "patching"))
        noise, adjust = self._data.patching.boundary_noise_ms, None
        if noise and policy in patching.ALIGNED.values():
            adjust = functools.partial(
                patching.jitter, frames=noise / 1000 * self._data.unit_rate, rng=generator(*key, "noise")
            )
        return self._builder.interleaved(record, spans, policy, adjust, documents in PROMPTED), policy
