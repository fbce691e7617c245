"""One record into one sequence of tokens with its patch boundaries.

Example: words "a" and "b" with "a" as text and "b" as the speech units 7 7 9, static patches of 2 (| opens a patch):

    |BOS |<t> |a |<s> |7 7 |9 |EOS
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from sentencepiece import SentencePieceProcessor

from lst_jax.data.interleave import Span
from lst_jax.data.patching import POLICIES, Boundaries, SpeechRun
from lst_jax.data.records import TextDocument, Utterance
from lst_jax.vocab import BOS_ID, EOS_ID, Vocab


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A whole document: tokens in the joint vocabulary, where patches start, and where they are known to end."""

    token: Int[np.ndarray, "n"]
    patch_start: Bool[np.ndarray, "n"]
    patch_end: Bool[np.ndarray, "n"]

    @functools.cached_property
    def boundary(self) -> Int[np.ndarray, "bounds"]:
        """Positions where patches start, and after them the length."""
        return np.append(np.flatnonzero(self.patch_start), len(self.token))


class Run(NamedTuple):
    """A run of one modality: its marker (None where it goes on in the run before), tokens, and boundaries."""

    marker: int | None
    token: Int[np.ndarray, "n"]
    bounds: Boundaries | None  # None where every token is a patch


@dataclasses.dataclass(frozen=True)
class ExampleBuilder:
    """Builds examples for one vocabulary, tokenizer and static patch size."""

    vocab: Vocab
    tokenizer: SentencePieceProcessor
    static_size: int

    def text(self, document: TextDocument) -> Example:
        """BOS <t> text EOS."""
        return self._from_text(document.text)

    def text_only(self, utterance: Utterance) -> Example:
        """BOS <t> the words EOS."""
        return self._from_text(" ".join(word.text for word in utterance.words))

    def speech_only(self, utterance: Utterance, policy: str) -> Example:
        """BOS <s> all units EOS, in patches by `policy` (a name in `patching.POLICIES`)."""
        return self.interleaved(utterance, [Span("speech", 0, len(utterance.words), 0, len(utterance.units))], policy)

    def interleaved(self, utterance: Utterance, spans: list[Span], policy: str) -> Example:
        """BOS, each span after its marker, EOS; text is the span's words joined by spaces."""
        return self.join([self.run(utterance, span, policy) for span in spans])

    def run(self, utterance: Utterance, span: Span, policy: str) -> Run:
        """One span as tokens behind its marker."""
        words = utterance.words[span.first_word:span.end_word]
        if span.modality == "text":
            return self._text_run(" ".join([w.text for w in words]))
        run = SpeechRun(span.end_frame - span.start_frame,
                        np.array([w.start_frame for w in words], np.int64) - span.start_frame,
                        np.array([w.end_frame for w in words], np.int64) - span.start_frame)
        unit = utterance.units[span.start_frame:span.end_frame].astype(np.int32) + self.vocab.unit_offset
        return Run(self.vocab.speech_marker, unit, POLICIES[policy](run, self.static_size))

    def join(self, runs: Sequence[Run]) -> Example:
        """The runs one after the other between BOS and EOS."""
        parts = [part for run in runs for part in ([run.marker], run.token)[run.marker is None:]]
        token = np.concatenate([[BOS_ID], *parts, [EOS_ID]], dtype=np.int32)
        start, end = np.ones(len(token), bool), np.ones(len(token), bool)
        pos = 1
        for run in runs:
            pos += run.marker is not None
            if run.bounds is not None:
                start[pos:pos + len(run.token)], end[pos:pos + len(run.token)] = run.bounds
            pos += len(run.token)
        return Example(token, start, end)

    def _from_text(self, text: str) -> Example:
        return self.join([self._text_run(text)])

    def _text_run(self, text: str) -> Run:
        return Run(self.vocab.text_marker, np.array(self.tokenizer.encode(text), np.int32), None)
