"""Records of `lst evaluate --asr` and `--tts`: error rates, and what the speech costs in patch positions."""

import dataclasses
from typing import Any, ClassVar

from lst_jax.evals.records.kind import Row


@dataclasses.dataclass(frozen=True)
class ErrorRateResult:
    """An error rate, its 95% interval by a bootstrap over utterances, and the counts that it is made of."""

    rate: float
    low: float
    high: float
    utterances: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """Patch positions (`unit_positions` in files) against those of Base, which has one for every token."""

    unit_positions: int
    base: int
    ratio: float
    speech_ratio: float


@dataclasses.dataclass(frozen=True)
class Transcript:
    """What an utterance says, and what the run wrote for it."""

    id: str
    reference: str
    answer: str


@dataclasses.dataclass(frozen=True)
class HeardSpeech:
    """What an utterance should say, what the recogniser heard in the generated speech, and its number of units."""

    id: str
    reference: str
    answer: str
    units: int


@dataclasses.dataclass(frozen=True)
class RecognitionRecord:
    """Transcripts by the run."""

    KIND: ClassVar[str] = "asr"
    TITLE: ClassVar[str] = "Recognition"
    step: int
    source: str
    task: str
    documents: str
    answering: str
    patches: str
    normaliser: str
    wer: ErrorRateResult
    cer: ErrorRateResult
    context: Cost
    answers: tuple[Transcript, ...]

    def file_name(self) -> str:
        """One file, of the newest evaluation."""
        return self.KIND

    def rows(self) -> list[Row]:
        """Error rates, and the length of the prompts."""
        remark = _remark(self)
        return [
            _rate_row(f"word error rate, {self.source}", self.wer, remark),
            _rate_row(f"character error rate, {self.source}", self.cer, remark),
            _cost_row("context", self.context),
        ]

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Nothing was renamed."""
        return fields


@dataclasses.dataclass(frozen=True)
class SynthesisRecord:
    """Speech that the run generated, as a recogniser hears it."""

    KIND: ClassVar[str] = "tts"
    TITLE: ClassVar[str] = "Synthesis"
    step: int
    source: str
    task: str
    documents: str
    answering: str
    patches: str
    normaliser: str
    recogniser: str
    cer: ErrorRateResult
    wer: ErrorRateResult
    cer_of_the_recordings_units: ErrorRateResult
    generation: Cost
    seconds: float
    seconds_of_the_recordings: float
    answers: tuple[HeardSpeech, ...]

    def file_name(self) -> str:
        """One file, of the newest evaluation."""
        return self.KIND

    def rows(self) -> list[Row]:
        """Error rates of the generated speech, of the recordings' own units, and the length of what was generated."""
        remark = f"heard by {self.recogniser}; {_remark(self)}"
        return [
            _rate_row(f"character error rate, {self.source}", self.cer, remark),
            _rate_row(f"word error rate, {self.source}", self.wer, remark),
            _rate_row("character error rate of the recordings' units", self.cer_of_the_recordings_units, remark),
            _cost_row("generation", self.generation),
            (
                "speech generated",
                f"{self.seconds:.1f} s",
                f"the recordings have {self.seconds_of_the_recordings:.1f} s",
            ),
        ]

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Nothing was renamed."""
        return fields


def _remark(record: RecognitionRecord | SynthesisRecord) -> str:
    return f"{record.answering} decoding, patches {record.patches}, normaliser {record.normaliser}; step {record.step}"


def _rate_row(what: str, value: ErrorRateResult, remark: str) -> Row:
    interval = f"95% interval {value.low:.1%} to {value.high:.1%}, {value.utterances} utterances"
    return what, f"{value.rate:.1%}", f"{interval}; {remark}"


def _cost_row(what: str, value: Cost) -> Row:
    return (
        f"{what}, patch positions",
        f"{value.unit_positions:,}",
        f"{value.ratio:.3f} of Base's {value.base:,}; of the speech alone {value.speech_ratio:.3f}",
    )
