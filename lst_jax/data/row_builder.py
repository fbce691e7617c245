"""One row while it is filled with segments of documents: where a segment ends, and what the row counts."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from lst_jax.core.vocab import PAD_ID, Vocab
from lst_jax.data.documents import Example
from lst_jax.data.rows import Batch, Stats, Windows, causal_pairs

MIN_SEGMENT = 8  # tokens; a shorter segment that does not finish its document is mostly marker
UNLIMITED = 1 << 40


class Limit(NamedTuple):
    """How much a segment may hold."""

    tokens: int = UNLIMITED
    patches: int = UNLIMITED
    excess: int = UNLIMITED  # tokens over patches


class RowBuilder:
    """One row while it is filled with segments of documents, and its counts."""

    def __init__(
        self,
        tokens: int,
        patches: int,
        sources: int,
        vocab: Vocab,
        windows: Windows,
        local_tokens: int | None = None,
        local_patches: int | None = None,
    ):
        """An empty row with room for `tokens` and `patches`.

        `local_tokens` and `local_patches` of them may pass the local networks; None = all of them.
        """
        self.token = np.full(tokens, PAD_ID, np.int32)
        self.doc_id = np.zeros(tokens, np.int32)
        self.patch_start = np.zeros(tokens, bool)
        self.patch_end = np.zeros(tokens, bool)
        self._is_learned = np.zeros(tokens, bool)  # the loss is on the prediction of this token
        self.row_patches = patches
        self.tokens_left, self.patches_left = tokens, patches
        self.local_left = tokens if local_tokens is None else local_tokens
        self.local_patches_left = patches if local_patches is None else local_patches
        self._room = tokens, patches, self.local_left, self.local_patches_left
        # Units, and patches of them, that fit after BOS and a marker
        self._longest = min(tokens - 2, self.local_left - 1)
        self._most_patches = min(patches - 2, self.local_patches_left - 1)
        self._vocab, self._windows = vocab, windows
        # Metrics on disk keep these names: "pieces" are segments, and "units" patch positions
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
        """Tokens over patches in the row so far. Only speech adds to it."""
        return len(self.token) - self.tokens_left - (self.row_patches - self.patches_left)

    def fit(self, example: Example, start: int, limit: Limit) -> int:
        """The end (exclusive) of the longest segment from position `start` on that fits the row and `limit`.

        It is `start` where nothing fits, and otherwise a position where `example.cut` allows a cut. Two such positions
        may be further apart than a whole row holds, as in a minute of silence. Between these a patch boundary will do,
        and within a patch longer than a row any position.
        """
        repeated = self._repeats_marker(example, start)
        tokens = min(limit.tokens, self.tokens_left) - repeated
        patches = min(limit.patches, self.patches_left) - repeated
        if tokens <= 0 or patches <= 0:
            return start
        rest = example.tail(start, 2 * len(self.token))  # as far as matters
        tokens = min(tokens, self._local_room(rest, self._marker(example, start) if repeated else -1))
        pos, before = rest.cut_pos, rest.patches_before
        last = (
            min(
                np.searchsorted(pos, tokens, "right"),
                np.searchsorted(before, patches, "right"),
                np.searchsorted(pos - before, limit.excess, "right"),
            )
            - 1
        )
        end = int(pos[last])
        if start + end == len(example.token):
            return len(example.token)
        if tokens + repeated < MIN_SEGMENT:
            return start
        if pos[last + 1] - end > self._longest or before[last + 1] - before[last] > self._most_patches:
            end = self._break(rest, end, tokens, patches, limit.excess)
        if end + repeated < MIN_SEGMENT and min(self.tokens_left, *limit) < len(self.token):
            return start  # but an empty row that may take anything takes this
        while end > 0 and (start + end == 1 or rest.token[end - 1] in self._markers):
            end -= 1  # BOS or a marker at the end of a segment teaches nothing: it goes with the run that it opens
        return start + end

    def holds(self, example: Example, if_empty: bool = False) -> bool:
        """Whether the whole example fits into the rest of the row, or, `if_empty`, into an empty row."""
        is_local = example.token >= self._windows.local_from
        needed = (
            len(example.token),
            int(example.patches_before[-1]),
            int(np.count_nonzero(is_local)),
            int(np.count_nonzero(is_local & example.patch_start)),
        )
        left = (self.tokens_left, self.patches_left, self.local_left, self.local_patches_left)
        room = self._room if if_empty else left
        return all(n <= r for n, r in zip(needed, room, strict=True))

    def add(self, example: Example, start: int, end: int, source: int) -> tuple[int, int]:
        """Appends tokens [start, end) of `example`, after a repeated marker where a document goes on inside a run.

        Returns: the numbers of tokens and patches that were added.
        """
        repeated = self._repeats_marker(example, start)
        at = len(self.token) - self.tokens_left
        stop = at + repeated + end - start
        if repeated:
            self.token[at] = self._marker(example, start)
            self.patch_start[at] = True
            self.patch_end[at] = not self._marker_stays_open(example, self.token[at])
        segment = example.tail(start, end - start + 1)  # one token more tells whether the end cuts a patch
        for row, some in (
            (self.token, segment.token),
            (self.patch_start, segment.patch_start),
            (self.patch_end, segment.patch_end),
        ):
            row[at + repeated : stop] = some[: end - start]
        self.doc_id[at:stop] = self._counts["pieces"] + 1
        self._is_learned[at + repeated : stop] = np.arange(start, end) >= example.loss_from
        patches = int(np.count_nonzero(self.patch_start[at:stop]))
        self.tokens_left -= stop - at
        self.patches_left -= patches
        is_local = self._is_local(slice(at, stop))
        self.local_left -= int(np.count_nonzero(is_local))
        self.local_patches_left -= int(np.count_nonzero(is_local & self.patch_start[at:stop]))
        assert min(self.local_left, self.local_patches_left) >= 0, (start, end)
        self._count(segment, end - start, repeated, slice(at, stop), patches)
        self._source_tokens[source] += stop - at
        return stop - at, patches

    def finish(self) -> tuple[Batch, Stats]:
        """The row with its targets and weights, and its counts."""
        token, doc = self.token, self.doc_id
        same = np.zeros(len(token), bool)
        same[:-1] = (doc[1:] == doc[:-1]) & (doc[1:] > 0)
        target = np.full_like(token, PAD_ID)
        target[:-1][same[:-1]] = token[1:][same[:-1]]
        weight = np.zeros(len(token), np.float32)
        weight[:-1] = same[:-1] & self._is_learned[1:]
        speech = self._vocab.is_speech(token)
        stats = {
            "tokens": len(token) - self.tokens_left,
            "units": np.count_nonzero(self.patch_start),  # patch positions in use
            **self._counts,
            "speech_units": np.count_nonzero(speech),
            "speech_patches": np.count_nonzero(speech & self.patch_start),
        }
        batch = Batch(token, target, weight, doc, self.patch_start, self.patch_end)
        return batch, {**{k: np.int64(v) for k, v in stats.items()}, "source_tokens": self._source_tokens}

    @property
    def _markers(self) -> tuple[int, int]:
        return self._vocab.text_marker, self._vocab.speech_marker

    def _is_local(self, here: slice) -> Bool[np.ndarray, "n"]:
        return self.token[here] >= self._windows.local_from

    def _local_room(self, rest: Example, marker: int) -> int:
        """How many of these tokens fit after `marker` (-1 = none) before the local networks have no room left."""
        is_local, marked = rest.token >= self._windows.local_from, marker >= self._windows.local_from
        counted = (is_local, self.local_left), (is_local & rest.patch_start, self.local_patches_left)
        return min(int(np.searchsorted(np.cumsum(each), left - marked, "right")) for each, left in counted)

    def _repeats_marker(self, example: Example, start: int) -> int:
        return int(start > 0 and example.token[start] not in self._markers)

    def _marker_stays_open(self, example: Example, marker: int) -> bool:
        """Whether a repeated marker opens a patch that units go on with, if any follow."""
        rule = example.rule
        return bool(marker == self._vocab.speech_marker and rule and rule.takes_marker and rule.fixed_size != 1)

    def _marker(self, example: Example, start: int) -> int:
        """Marker of the span that position `start` is in. EOS belongs to the span before it."""
        inside = example.token[start - (start == len(example.token) - 1)]
        return self._vocab.speech_marker if inside >= self._vocab.speech_marker else self._vocab.text_marker

    def _break(self, rest: Example, end: int, tokens: int, patches: int, excess: int) -> int:
        """The last patch boundary that fits, or any position in a patch longer than a row; at least `end`."""
        starts = np.append(np.flatnonzero(rest.patch_start), len(rest.token))
        number = np.arange(len(starts))
        last = min(
            np.searchsorted(starts, tokens, "right") - 1,
            patches,
            np.searchsorted(starts - number, excess, "right") - 1,
        )
        if last < min(patches, len(starts) - 1) and starts[last + 1] - starts[last] > self._longest:
            return max(end, min(tokens, int(last) + 1 + excess))
        return max(end, int(starts[min(last, len(starts) - 2)]))

    def _count(self, example: Example, end: int, repeated: int, here: slice, patches: int) -> None:
        """Counts a segment: tokens [0, end) of `example`, which lie `here` in the row. A longer example is cut."""
        counts = self._counts
        is_local = self._is_local(here)
        patch_n = np.cumsum(self.patch_start[here][is_local])  # 1 for the tokens of the segment's first local patch
        visible_n = patch_n - ~self.patch_end[here][is_local]  # local patches complete at each token
        local_tokens, local_patches = len(patch_n), int(patch_n[-1]) if len(patch_n) else 0
        counts["local_tokens"] += local_tokens
        counts["local_units"] += local_patches
        counts["encoder_cross_pairs"] += int(np.minimum(local_patches + 1 - patch_n, self._windows.encoder_cross).sum())
        counts["decoder_cross_pairs"] += int(np.minimum(visible_n, self._windows.decoder_cross).sum())
        counts["pieces"] += 1
        if end < len(example.token):
            counts["pieces_cut"] += 1
            counts["speech_cut"] += bool(self._vocab.is_speech(example.token[end - 1 : end + 1]).all())
            counts["words_cut"] += not example.cut[end]
            counts["patches_split"] += not example.cut[end] and not example.patch_start[end]
        counts["markers_repeated"] += repeated
        counts["encoder_pairs"] += causal_pairs(local_tokens, self._windows.encoder)
        counts["global_pairs"] += causal_pairs(patches, self._windows.global_)
        counts["decoder_pairs"] += causal_pairs(local_tokens, self._windows.decoder)
