"""One record into one sequence of tokens with its patch boundaries.

Example: words "a" and "b" with "a" as text and "b" as the speech units 7 7 9, static patches of 2 (| starts a patch):

    |BOS |<t> |a |<s> |7 7 |9 |EOS
"""

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from lst_jax.config import Config
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import Vocab
from lst_jax.data.interleave import Span
from lst_jax.data.patching import Boundaries, BoundaryRule, SpeechRun, run_without_words, word_edges
from lst_jax.data.records import TextDocument, Utterance
from lst_jax.data.text_tokenizer import TextTokenizer
from lst_jax.data.unit_pieces import UnitPieces, open_unit_pieces, piece_cuts


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A whole document, or a segment of one: tokens in the joint vocabulary, and their patches.

    A document that no row has room for is cut where `cut` allows: before any text token or marker, and within speech
    where a word starts or ends. Where speech is written in unit pieces, that is before the next piece from there on.
    A segment that begins inside a run whose rule restarts counts the run's patches from the segment's first unit, as if
    the run began there. So the position of a cut alone decides what follows it.
    """

    token: Int[np.ndarray, "n"]
    patch_start: Bool[np.ndarray, "n"]
    patch_end: Bool[np.ndarray, "n"]  # a patch is known to end here
    cut: Bool[np.ndarray, "n"]  # a segment may begin here
    words: int = 0  # of text or spoken, in the whole document
    rule: BoundaryRule | None = None  # of the restarting runs
    restarting_runs: tuple[tuple[int, int], ...] = ()  # positions [first, end) of the runs whose rule restarts
    loss_from: int = 0  # first position whose token the model learns to predict; the tokens before it are a prompt

    @functools.cached_property
    def cut_pos(self) -> Int[np.ndarray, "cuts"]:
        """Positions where a segment may begin, followed by the document's length."""
        return np.append(np.flatnonzero(self.cut), len(self.token))

    @functools.cached_property
    def patches_before(self) -> Int[np.ndarray, "cuts"]:
        """Patches that start before each of `cut_pos`."""
        return np.append(0, np.cumsum(self.patch_start))[self.cut_pos]

    def tail(self, start: int, length: int) -> "Example":
        """At most `length` tokens from position `start` on, in the patches they have in a segment that begins there."""
        stop = min(start + length, len(self.token))
        if start == 0 and stop == len(self.token):
            return self
        here = slice(start, stop)
        begins, ends, cut = self.patch_start[here].copy(), self.patch_end[here].copy(), self.cut[here].copy()
        begins[0] = cut[0] = True
        number = bisect.bisect(self.restarting_runs, (start,)) - 1  # the last run that begins before `start`
        if number >= 0 and start < (end := self.restarting_runs[number][1]):
            marker = int(self.rule.takes_marker)  # the one that is repeated before the segment
            recounted = self.rule.boundaries(run_without_words(marker + end - start))
            for ours, anew in zip((begins, ends), recounted, strict=True):
                ours[: end - start] = anew[marker:][: len(ours)]
        return Example(self.token[here], begins, ends, cut, loss_from=max(0, self.loss_from - start))


class Run(NamedTuple):
    """A run of one modality: its marker, its tokens, and its patches."""

    marker: int | None  # None where the run goes on in the modality of the run before it
    token: Int[np.ndarray, "n"]
    bounds: Boundaries | None  # None where every token is a patch
    cut: Bool[np.ndarray, "n"] | None = None  # a segment may begin here; None where that is so before every token
    rule: BoundaryRule | None = None  # that made `bounds`


class ExampleBuilder:
    """Makes examples with one vocabulary and tokenizer. If it has `pieces`, it writes speech in these unit pieces."""

    def __init__(
        self,
        vocab: Vocab,
        tokenizer: TextTokenizer,
        pieces: UnitPieces | None = None,
        text_ends_in_space: bool = False,
    ):
        """`text_ends_in_space` as in the configuration. Raises: DataError where the tokenizer has no piece for that."""
        self.vocab, self.tokenizer, self.pieces = vocab, tokenizer, pieces
        self._space = _space_piece(tokenizer) if text_ends_in_space else None
        self._piece_chars = functools.lru_cache(1 << 16)(tokenizer.piece_chars)

    @classmethod
    def of(cls, config: Config, tokenizer: TextTokenizer) -> "ExampleBuilder":
        """The builder for a run. Raises: DataError where the unit tokenizer or the tokenizer does not fit the run."""
        space = config.data.interleave.text_ends_in_space
        return cls(config.joint_vocab, tokenizer, open_unit_pieces(config), space)

    @property
    def codebook_size(self) -> int:
        """The units of a record must be below this number."""
        return self.vocab.unit_slots if self.pieces is None else self.pieces.codebook.size

    def speech_frames(self, token: Int[np.ndarray, "n"]) -> int:
        """Number of frames that the speech tokens among these stand for."""
        speech = token[self.vocab.is_speech(token)] - self.vocab.unit_offset
        return len(speech) if self.pieces is None else int(self.pieces.frames[speech].sum())

    def text(self, document: TextDocument) -> Example:
        """The sequence BOS <t> text EOS."""
        return self._from_text(document.text)

    def text_only(self, utterance: Utterance) -> Example:
        """The sequence BOS <t> words EOS, without the utterance's speech."""
        return self._from_text(" ".join(word.text for word in utterance.words))

    def speech_only(self, utterance: Utterance, rule: BoundaryRule) -> Example:
        """The sequence BOS <s> units EOS, without the utterance's text."""
        return self.interleaved(utterance, [Span("speech", 0, len(utterance.words), 0, len(utterance.units))], rule)

    def interleaved(
        self, utterance: Utterance, spans: list[Span], rule: BoundaryRule, prompted: bool = False
    ) -> Example:
        """The sequence BOS, each span after its marker, EOS. A text span is its words joined by spaces.

        Args: `rule` cuts the spans of speech into patches. `prompted`: the last span is an answer, and the loss is on
            it and EOS alone.
        """
        runs = self.spaced([self.run(utterance, span, rule, bool(number)) for number, span in enumerate(spans)])
        example = self.join(runs, len(utterance.words))
        if not prompted:
            return example
        return dataclasses.replace(example, loss_from=len(example.token) - 1 - len(runs[-1].token))

    def run(self, utterance: Utterance, span: Span, rule: BoundaryRule, behind: bool = False) -> Run:
        """One span as tokens after its marker, in the patches of `rule` if it is speech.

        Args: `behind`: other spans come before it in the document.
        """
        words = utterance.words[span.first_word : span.end_word]
        if span.modality == "text":
            return self.text_run(" ".join([w.text for w in words]), behind)
        run = SpeechRun(
            span.end_frame - span.start_frame,
            np.array([w.start_frame for w in words], np.int64) - span.start_frame,
            np.array([w.end_frame for w in words], np.int64) - span.start_frame,
            [self._piece_chars(w.text) for w in words] if rule.reads_text_pieces else (),
        )
        unit = utterance.units[span.start_frame : span.end_frame].astype(np.int32)
        may_cut = word_edges(run)
        if self.pieces is not None:
            unit = self.pieces.encode(unit)
            may_cut = piece_cuts(may_cut, self.pieces.frames[unit])
            run = run_without_words(len(unit))  # `Strategy.check` allows unit pieces only with rules that need no words
        bounds, cut = rule.patch(run, may_cut)
        return Run(self.vocab.speech_marker, unit + self.vocab.unit_offset, bounds, cut, rule)

    def spaced(self, runs: list[Run]) -> list[Run]:
        """The runs, where text before a speech marker ends in a space if `data.interleave.text_ends_in_space` says so."""
        if self._space is None:
            return runs
        spaced = list(runs)
        for number, (run, following) in enumerate(itertools.pairwise(runs)):
            if run.marker == self.vocab.text_marker and following.marker == self.vocab.speech_marker:
                spaced[number] = run._replace(token=np.append(run.token, np.int32(self._space)))
        return spaced

    def join(self, runs: Sequence[Run], words: int = 0) -> Example:
        """The runs one after the other between BOS and EOS. `words` is the number for `Example.words`."""
        parts = [part for run in runs for part in ([run.marker], run.token)[run.marker is None :]]
        token = np.concatenate([[self.vocab.bos_id], *parts, [self.vocab.eos_id]], dtype=np.int32)
        start, end, cut = np.ones((3, len(token)), bool)
        restarting, rule, pos = [], None, 1
        for run in runs:
            pos += run.marker is not None
            here = slice(pos, pos + len(run.token))
            if run.bounds is not None:
                start[here], end[here] = run.bounds
                cut[here] = run.cut
            if run.rule is not None and run.rule.takes_marker and run.marker is not None:
                marked = slice(pos - 1, here.stop)
                start[marked], end[marked] = run.rule.boundaries(run_without_words(1 + len(run.token)))
            if run.rule is not None and run.rule.restarts:
                restarting.append((here.start, here.stop))
                rule = run.rule
            pos = here.stop
        return Example(token, start, end, cut, words, rule, tuple(restarting))

    def _from_text(self, text: str) -> Example:
        return self.join([self.text_run(text)], len(text.split()))

    def text_run(self, text: str, behind: bool = False) -> Run:
        """A text as tokens after its marker. Args: `behind`: other words come before it in the document."""
        return Run(self.vocab.text_marker, self.tokenizer.ids(text, behind), None)


def _space_piece(tokenizer: TextTokenizer) -> int:
    """The id of the text piece of a space alone. Raises: DataError where there is none."""
    piece = tokenizer.space_id()
    if piece is None:
        raise DataError(
            "data.tokenizer: has no text piece of a space alone; set data.interleave.text_ends_in_space to False, or use "
            "the tokenizer of Llama-2"
        )
    return piece
