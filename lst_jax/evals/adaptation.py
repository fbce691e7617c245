"""Recognition and synthesis by a run: word and character error rates, and their cost in patch positions.

Conventions, recorded beside every number:
- A prompt is a document of `data.documents` "asr" or "tts" up to the answer's marker, patched as at inference.
- `answering` names the decoder. It generates tokens of the answer's modality only.
- Rates are over all utterances together. `normaliser` names what both sides went through before.
- `context` and `generation` compare patch positions with Base's, which has one for every token (paper Table 5). They
  count markers, BOS and text; `speech_ratio` is of the speech alone.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lst_jax.config import Config
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import PROMPTED
from lst_jax.data.patching import strategy_of
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.data.records import Utterance
from lst_jax.data.text_tokenizer import TextTokenizer
from lst_jax.evals import error_rate
from lst_jax.evals.answers import Answering
from lst_jax.evals.recognisers.kind import Recogniser

# Limits of an answer's length, which depend on its prompt alone
TEXT_TOKENS_A_SECOND = 10.0  # LibriSpeech has about 3.6 in a vocabulary of 32,000
SECONDS_A_TEXT_TOKEN = 1.0
LEAST = 16  # tokens or units that every answer may have
Vocode = Callable[[np.ndarray], np.ndarray]  # uint16 units -> float32 audio at 16 kHz


class Question(NamedTuple):
    """A prompt, the reference text of its utterance, and the most tokens that the answer may have."""

    utterance: Utterance
    prompt: Example
    reference: str
    most: int


def questions(task: str, utterances: Sequence[Utterance], config: Config, tokenizer: TextTokenizer) -> list[Question]:
    """Prompts of `task`, "asr" or "tts", each ending with the marker of its answer."""
    builder, rule = ExampleBuilder.of(config, tokenizer), strategy_of(config.data.patching).inference_rule
    made = []
    for utterance in utterances:
        example = builder.interleaved(utterance, PROMPTED[task](utterance), rule, prompted=True)
        prompt = example.tail(0, example.loss_from)
        if task == "asr":
            most = TEXT_TOKENS_A_SECOND * len(utterance.units) / config.data.unit_rate
        else:
            most = SECONDS_A_TEXT_TOKEN * len(prompt.token) * config.data.unit_rate
        reference = " ".join(word.text for word in utterance.words)
        made.append(Question(utterance, prompt, reference, LEAST + int(most)))
    return made


def recognise(utterances: Sequence[Utterance], config: Config, answering: Answering) -> dict[str, Any]:
    """Word and character error rates of the run's transcripts, and the context they are made from."""
    tokenizer, vocab = open_tokenizer(config), config.joint_vocab
    asked = questions("asr", utterances, config, tokenizer)
    answers = answering([q.prompt for q in asked], "text", [q.most for q in asked])
    texts = [tokenizer.decode(answer.tolist()) for answer in answers]
    references = [q.reference for q in asked]
    speech = [vocab.is_speech(q.prompt.token) for q in asked]
    return _described("asr", config, answering) | {
        "wer": _as_json(error_rate.word_error_rate(references, texts)),
        "cer": _as_json(error_rate.character_error_rate(references, texts)),
        "context": _against_base(
            sum(int(q.prompt.patch_start.sum()) for q in asked),
            sum(len(q.prompt.token) for q in asked),
            sum(int(q.prompt.patch_start[s].sum()) for q, s in zip(asked, speech, strict=True)),
            sum(int(s.sum()) for s in speech),
        ),
        "answers": [
            {"id": q.utterance.id, "reference": q.reference, "answer": text}
            for q, text in zip(asked, texts, strict=True)
        ],
    }


def synthesise(
    utterances: Sequence[Utterance], config: Config, answering: Answering, vocode: Vocode, recogniser: Recogniser
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Error rates of the speech that the run generates, beside those of the recordings' own units; and the audio."""
    asked = questions("tts", utterances, config, open_tokenizer(config))
    builder = ExampleBuilder.of(config, open_tokenizer(config))
    answers = answering([q.prompt for q in asked], "speech", [q.most for q in asked])
    units = [_units(builder, answer) for answer in answers]
    audio = [vocode(some) if len(some) else np.zeros(0, np.float32) for some in units]
    heard = [recogniser.transcribe(sound) for sound in audio]
    ceiling = [recogniser.transcribe(vocode(q.utterance.units)) for q in asked]
    references = [q.reference for q in asked]
    size = strategy_of(config.data.patching).inference_rule.fixed_size or 1
    patches = sum(-(-len(answer) // size) for answer in answers)
    tokens = sum(len(answer) for answer in answers)
    return _described("tts", config, answering) | {
        "recogniser": recogniser.name,
        "cer": _as_json(error_rate.character_error_rate(references, heard)),
        "wer": _as_json(error_rate.word_error_rate(references, heard)),
        "cer_of_the_recordings_units": _as_json(error_rate.character_error_rate(references, ceiling)),
        "generation": _against_base(patches, tokens, patches, tokens),
        "seconds": sum(map(len, units)) / config.data.unit_rate,
        "seconds_of_the_recordings": sum(len(q.utterance.units) for q in asked) / config.data.unit_rate,
        "answers": [
            {"id": q.utterance.id, "reference": q.reference, "answer": text, "units": len(some)}
            for q, text, some in zip(asked, heard, units, strict=True)
        ],
    }, audio


def _units(builder: ExampleBuilder, answer: np.ndarray) -> np.ndarray:
    units = answer - builder.vocab.unit_offset
    return units.astype(np.uint16) if builder.pieces is None else builder.pieces.decode(units)


def _described(task: str, config: Config, answering: Answering) -> dict[str, Any]:
    return {
        "task": task,
        "documents": config.data.documents,
        "answering": answering.name,
        "patches": strategy_of(config.data.patching).inference_rule.name,
        "normaliser": error_rate.NORMALISER,
    }


def _as_json(rate: error_rate.ErrorRate) -> dict[str, Any]:
    low, high = rate.interval
    return json.loads(json.dumps({"rate": rate.rate, "low": low, "high": high, **rate.counts._asdict()}))


def _against_base(positions: int, base: int, speech: int, speech_base: int) -> dict[str, Any]:
    return {
        "unit_positions": positions,
        "base": base,
        "ratio": positions / max(base, 1),
        "speech_ratio": speech / max(speech_base, 1),
    }
