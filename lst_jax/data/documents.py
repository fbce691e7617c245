"""One record into one sequence of tokens with its patch boundaries.

Example: words "a" and "b" with "a" as text and "b" as the speech units 7 7 9, static patches of 2 (| opens a patch):

    |BOS |<t> |a |<s> |7 7 |9 |EOS
"""

import bisect
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from sentencepiece import SentencePieceProcessor

from lst_jax.config import Config
from lst_jax.core.vocab import BOS_ID, EOS_ID, Vocab
from lst_jax.data.interleave import Span
from lst_jax.data.patching import BY_PIECES, POLICIES, Boundaries, SpeechRun, aligned, static
from lst_jax.data.records import TextDocument, Utterance
from lst_jax.data.unit_pieces import UnitPieces, open_unit_pieces, piece_cuts


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A whole document, or what is left of one: tokens in the joint vocabulary and their patches.

    Where a row has no room for all of it, it is cut where `cut` allows: before any text token or marker, and within
    speech at the edges of words only (where units are joined to pieces: before the first one from there on). The piece
    that goes on inside a run of static patches counts them anew from its own first unit, as if the run began there, so
    the position of a cut says all about what follows it.
    """

    token: Int[np.ndarray, "n"]
    patch_start: Bool[np.ndarray, "n"]
    patch_end: Bool[np.ndarray, "n"]  # a patch is known to end here
    cut: Bool[np.ndarray, "n"]  # a piece may begin here
    words: int = 0  # of text or spoken, in the whole document
    static_size: int = 1  # units a static patch
    static_runs: tuple[tuple[int, int], ...] = ()  # positions [first, end) of the runs in static patches
    loss_from: int = 0  # first position whose token is learned to be predicted; what is before it is a prompt

    @functools.cached_property
    def cut_pos(self) -> Int[np.ndarray, "cuts"]:
        """Positions where a piece may begin, and after them the length."""
        return np.append(np.flatnonzero(self.cut), len(self.token))

    @functools.cached_property
    def units_before(self) -> Int[np.ndarray, "cuts"]:
        """Unit positions before each of `cut_pos`."""
        return np.append(0, np.cumsum(self.patch_start))[self.cut_pos]

    def tail(self, start: int, length: int) -> "Example":
        """At most `length` tokens from position `start` on, in the patches they have in a piece that begins there."""
        stop = min(start + length, len(self.token))
        if start == 0 and stop == len(self.token):
            return self
        here = slice(start, stop)
        begins, ends, cut = self.patch_start[here].copy(), self.patch_end[here].copy(), self.cut[here].copy()
        begins[0] = cut[0] = True
        number = bisect.bisect(self.static_runs, (start,)) - 1  # the last run that begins before `start`
        if number >= 0 and start < (end := self.static_runs[number][1]):
            run = SpeechRun(end - start, *NO_WORDS)
            for ours, anew in zip((begins, ends), static(run, self.static_size), strict=True):
                ours[: end - start] = anew[: len(ours)]
        return Example(self.token[here], begins, ends, cut, loss_from=max(0, self.loss_from - start))


class Run(NamedTuple):
    """A run of one modality: its marker (None where it goes on in the run before), tokens, and patches."""

    marker: int | None
    token: Int[np.ndarray, "n"]
    bounds: Boundaries | None  # None where every token is a patch
    cut: Bool[np.ndarray, "n"] | None = None  # None where a piece may begin before every token
    is_static: bool = False


Adjust = Callable[[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]], tuple[Boundaries, Bool[np.ndarray, "n"]]]
NO_WORDS = np.zeros(0, np.int64), np.zeros(0, np.int64)


class ExampleBuilder:
    """Builds examples for one vocabulary, tokenizer and static patch size; with `pieces`, speech is written in them."""

    def __init__(
        self, vocab: Vocab, tokenizer: SentencePieceProcessor, static_size: int, pieces: UnitPieces | None = None
    ):
        """Keeps the four."""
        self.vocab, self.tokenizer, self.static_size, self.pieces = vocab, tokenizer, static_size, pieces
        self._piece_chars = functools.lru_cache(1 << 16)(functools.partial(piece_chars, tokenizer))

    @classmethod
    def of(cls, config: Config, tokenizer: SentencePieceProcessor) -> "ExampleBuilder":
        """The builder of a run. Raises: DataError where its unit tokenizer does not fit."""
        return cls(config.joint_vocab, tokenizer, config.data.patching.static_size, open_unit_pieces(config))

    @property
    def codebook_size(self) -> int:
        """Units of records must be below it."""
        return self.vocab.unit_slots if self.pieces is None else self.pieces.codebook.size

    def speech_frames(self, token: Int[np.ndarray, "n"]) -> int:
        """Frames that the speech tokens among these stand for."""
        speech = token[self.vocab.is_speech(token)] - self.vocab.unit_offset
        return len(speech) if self.pieces is None else int(self.pieces.frames[speech].sum())

    def text(self, document: TextDocument) -> Example:
        """BOS <t> text EOS."""
        return self._from_text(document.text)

    def text_only(self, utterance: Utterance) -> Example:
        """BOS <t> the words EOS."""
        return self._from_text(" ".join(word.text for word in utterance.words))

    def speech_only(self, utterance: Utterance, policy: str) -> Example:
        """BOS <s> all units EOS, in patches by `policy` (a name in `patching.POLICIES`)."""
        return self.interleaved(utterance, [Span("speech", 0, len(utterance.words), 0, len(utterance.units))], policy)

    def interleaved(
        self, utterance: Utterance, spans: list[Span], policy: str, adjust: Adjust | None = None, prompted: bool = False
    ) -> Example:
        """BOS, each span after its marker, EOS; text is the span's words joined by spaces.

        `prompted`: the last span and EOS are an answer, and only they are learned.
        """
        runs = [self.run(utterance, span, policy, adjust) for span in spans]
        example = self.join(runs, len(utterance.words))
        if not prompted:
            return example
        return dataclasses.replace(example, loss_from=len(example.token) - 1 - len(runs[-1].token))

    def run(self, utterance: Utterance, span: Span, policy: str, adjust: Adjust | None = None) -> Run:
        """One span as tokens behind its marker; `adjust` may move the boundaries of speech, see `patching.jitter`."""
        words = utterance.words[span.first_word : span.end_word]
        if span.modality == "text":
            return self._text_run(" ".join([w.text for w in words]))
        run = SpeechRun(
            span.end_frame - span.start_frame,
            np.array([w.start_frame for w in words], np.int64) - span.start_frame,
            np.array([w.end_frame for w in words], np.int64) - span.start_frame,
            [self._piece_chars(w.text) for w in words] if policy in BY_PIECES else (),
        )
        unit = utterance.units[span.start_frame : span.end_frame].astype(np.int32)
        cut, _ = aligned(run, 1)  # the edges of words
        if self.pieces is not None:
            unit = self.pieces.encode(unit)
            cut = piece_cuts(cut, self.pieces.frames[unit])
            run = SpeechRun(len(unit), *NO_WORDS)  # `validate` sees to it that the policy asks no more: none
        unit += self.vocab.unit_offset
        bounds = POLICIES[policy](run, self.static_size)
        if policy != "static":
            cut &= bounds[0]
        if adjust is not None:
            bounds, cut = adjust(bounds[0], cut)
        return Run(self.vocab.speech_marker, unit, bounds, cut, policy == "static")

    def join(self, runs: Sequence[Run], words: int = 0) -> Example:
        """The runs one after the other between BOS and EOS; `words` are counted in `Example.words`."""
        parts = [part for run in runs for part in ([run.marker], run.token)[run.marker is None :]]
        token = np.concatenate([[BOS_ID], *parts, [EOS_ID]], dtype=np.int32)
        start, end, cut = np.ones((3, len(token)), bool)
        static_runs, pos = [], 1
        for run in runs:
            pos += run.marker is not None
            here = slice(pos, pos + len(run.token))
            if run.bounds is not None:
                start[here], end[here] = run.bounds
                cut[here] = run.cut
            if run.is_static:
                static_runs.append((here.start, here.stop))
            pos = here.stop
        return Example(token, start, end, cut, words, self.static_size, tuple(static_runs))

    def _from_text(self, text: str) -> Example:
        return self.join([self._text_run(text)], len(text.split()))

    def _text_run(self, text: str) -> Run:
        return Run(self.vocab.text_marker, np.array(self.tokenizer.encode(text), np.int32), None)


def piece_chars(tokenizer: SentencePieceProcessor, word: str) -> tuple[int, ...]:
    """Characters in each text piece of a word, without the mark of the space before it.

    A piece without a character of its own takes no frames: the space alone, or a byte that continues a character.

    Example: a word in the pieces "▁plea" "sant" -> (4, 4); one in "▁" "na" <0xC3> <0xAF> "ve" -> (2, 1, 2)
    """
    counts = []
    for index in tokenizer.encode(word):
        piece = tokenizer.id_to_piece(index)
        if tokenizer.is_byte(index):
            counts.append(int(not 0x80 <= int(piece[1:-1], 16) < 0xC0))  # UTF-8: 10xxxxxx continues a character
        else:
            counts.append(len(piece.removeprefix("\u2581")))
    return tuple(filter(None, counts)) or (1,)
