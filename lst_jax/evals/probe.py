"""`lst evaluate RUN --probe patches`: what speech patches represent inside a trained model (paper Figure 5).

All numbers are over held-out aligned utterances, patched as at inference:
- The embedding of a word is the mean input of the global transformer over the word's patches. These are the patches of
  which at least half the frames belong to the word, or else the patch with most of its frames.
- The cosine within a word is over pairs of its occurrences in different utterances; the cosine between words is over
  pairs of different words. The silhouette is over words, by cosine distance.
- Text-speech similarity is the cosine of a word's spoken and written occurrences, at the input of the global
  transformer and after each layer, with each modality's mean subtracted. The same for different words stands beside it.
- Margins are the nats by which the true second half of an item of `data.tasks.completion` is likelier.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lst_jax.checkpoints.trained_model import TrainedModel
from lst_jax.core.errors import DataError
from lst_jax.core.shapes import Float, Int
from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.patching import strategy_of
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.data.records import Utterance
from lst_jax.data.tasks import completion
from lst_jax.evals import scorer, tasks
from lst_jax.evals.error_rate import english
from lst_jax.evals.global_states import global_states_on
from lst_jax.parallel.sharding import row_parts

LEAST_TIMES = 4  # utterances in which a word must occur
WORDS = 40  # the number of words that are looked at, the most frequent first
LENGTHS = 128  # the length of a row is a multiple of this


class Occurrences(NamedTuple):
    """Occurrences of words: their states by layer ([0] are the inputs), and the number of each one's word."""

    state_NOD: Float[np.ndarray, "N O D"]
    word_O: Int[np.ndarray, "O"]


def probe(opened: TrainedModel, utterances: Sequence[Utterance]) -> tuple[dict[str, Any], Occurrences, list[str]]:
    """All numbers, and for pictures the spoken occurrences and the words that they are of.

    Raises: DataError where too few words occur often enough.
    """
    words = frequent_words(utterances)
    spoken = occurrences(opened, utterances, words, "speech")
    written = occurrences(opened, utterances, words, "text")
    values = {
        "task": "probe",
        "patches": strategy_of(opened.config.data.patching).inference_rule.name,
        "utterances": len(utterances),
        "words": words,
        "occurrences": len(spoken.word_O),
        "embeddings": separation(*_inputs(spoken)),
        "text_speech": similarity_by_layer(spoken, written),
        "margins": margins(opened, utterances),
    }
    return values, spoken, words


def frequent_words(utterances: Sequence[Utterance]) -> list[str]:
    """Normalised words that occur in at least `LEAST_TIMES` utterances, the most frequent first."""
    counts = collections.Counter(word for u in utterances for word in {english(w.text) for w in u.words} - {""})
    found = [word for word, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= LEAST_TIMES]
    if len(found) < 2:
        raise DataError(
            f"--probe: {len(found)} words occur in {LEAST_TIMES} utterances of {len(utterances)}; give "
            "more held-out utterances"
        )
    return found[:WORDS]


def occurrences(
    opened: TrainedModel, utterances: Sequence[Utterance], words: Sequence[str], modality: str
) -> Occurrences:
    """Each word's first occurrence in each utterance, as it is said in speech alone, or written in text alone."""
    config, number = opened.config, {word: i for i, word in enumerate(words)}
    builder = ExampleBuilder.of(config, open_tokenizer(config))
    rule = strategy_of(config.data.patching).inference_rule
    states, found = [], []
    examples = [builder.speech_only(u, rule) if modality == "speech" else builder.text_only(u) for u in utterances]
    for utterance, example, (state_NUD, unit_T) in zip(utterances, examples, _states(opened, examples), strict=True):
        places = _spoken(utterance, builder, example) if modality == "speech" else _written(utterance, builder)
        seen = set()
        for word, place in zip(utterance.words, places, strict=True):
            index = number.get(english(word.text))
            if index is None or index in seen or not len(place):
                continue
            seen.add(index)
            states.append(state_NUD[:, _units_of(place, unit_T, modality == "speech")].mean(1))
            found.append(index)
    return Occurrences(np.stack(states, 1), np.array(found))


def separation(vector_OD: Float[np.ndarray, "O D"], word_O: Int[np.ndarray, "O"]) -> dict[str, float]:
    """Cosine within words and between them, and the silhouette of words by cosine distance."""
    unit_OD = _unit(vector_OD)
    cosine_OO = unit_OD @ unit_OD.T
    same_OO = word_O[:, None] == word_O
    other_OO = same_OO & ~np.eye(len(word_O), dtype=bool)
    return {
        "cosine_within": float(cosine_OO[other_OO].mean()),
        "cosine_between": float(cosine_OO[~same_OO].mean()),
        "silhouette": silhouette(1 - cosine_OO, word_O),
    }


def silhouette(distance_OO: Float[np.ndarray, "O O"], label_O: Int[np.ndarray, "O"]) -> float:
    """The mean of (b - a) / max(a, b) over all points (Rousseeuw 1987).

    a is the mean distance to the other points of the same label, b that to the points of the nearest other label. The
    only point of a label counts 0.
    """
    labels = np.unique(label_O)
    member_OL = (label_O[:, None] == labels).astype(float)
    own_O = np.searchsorted(labels, label_O)
    size_L, total_OL, rows_O = member_OL.sum(0), distance_OO @ member_OL, np.arange(len(label_O))
    own_size_O = size_L[own_O]
    a_O = total_OL[rows_O, own_O] / np.maximum(own_size_O - 1, 1)
    mean_OL = total_OL / size_L
    mean_OL[rows_O, own_O] = np.inf
    b_O = mean_OL.min(1)
    return float(np.where(own_size_O > 1, (b_O - a_O) / np.maximum(np.maximum(a_O, b_O), 1e-12), 0).mean())


def similarity_by_layer(spoken: Occurrences, written: Occurrences) -> list[dict[str, float]]:
    """Cosine of spoken and written occurrences of the same word and of different words, inputs first."""
    same_OO = spoken.word_O[:, None] == written.word_O
    layers = []
    for speech_OD, text_OD in zip(spoken.state_NOD, written.state_NOD, strict=True):
        cosine_OO = _unit(speech_OD - speech_OD.mean(0)) @ _unit(text_OD - text_OD.mean(0)).T
        layers.append({"same_word": float(cosine_OO[same_OO].mean()), "other_word": float(cosine_OO[~same_OO].mean())})
    return layers


def margins(opened: TrainedModel, utterances: Sequence[Utterance]) -> dict[str, dict[str, Any]]:
    """By direction of completion choice, nats by which each true response is likelier: sums, and means per token."""
    config, items = opened.config, completion.make_items(utterances, len(utterances))
    builder, rule = ExampleBuilder.of(config, open_tokenizer(config)), strategy_of(config.data.patching).inference_rule
    one_scorer, found = scorer.Scorer(config, opened.mesh), {}
    for direction in tasks.available(items) if items else ():
        candidates = [one for item in items for one in tasks.candidates(item, direction, builder, rule, "restart")]
        nats, _ = one_scorer.nats(opened.params, candidates, direction)
        scored = tasks.amounts(items, candidates, nats, builder, config.data.unit_rate, "response")
        margin_I2 = np.array(
            [[right.score(rule) - wrong.score(rule) for rule in ("sum", "per_token")] for right, wrong in scored]
        )
        found[direction] = {
            "items": len(items),
            "mean_of_sums": float(margin_I2[:, 0].mean()),
            "mean_of_means": float(margin_I2[:, 1].mean()),
            "means": margin_I2[:, 1].tolist(),
        }
    return found


def _states(opened: TrainedModel, examples: Sequence[Example]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """States [N, U, D] and the patch position of each token, an example a row and a row for each part of the mesh."""
    parts = row_parts(opened.mesh)
    for first in range(0, len(examples), parts):
        some = examples[first : first + parts]
        t = max(-(-len(e.token) // LENGTHS) for e in some) * LENGTHS
        rows = [np.zeros((parts, t), kind) for kind in (np.int32, np.int32, bool, bool)]
        for i, one in enumerate(some):
            for row_BT, values in zip(rows, (one.token, 1, one.patch_start, one.patch_end), strict=True):
                row_BT[i, : len(one.token)] = values
        state_NBUD, unit_BT = global_states_on(opened.config, opened.mesh, opened.params, *rows)
        for i, one in enumerate(some):
            yield np.asarray(state_NBUD[:, i], np.float32), np.asarray(unit_BT[i, : len(one.token)])


def _inputs(found: Occurrences) -> tuple[np.ndarray, np.ndarray]:
    return found.state_NOD[0], found.word_O


def _spoken(utterance: Utterance, builder: ExampleBuilder, example: Example) -> list[np.ndarray]:
    """The token positions of each word's speech, which begins after BOS and the marker."""
    if builder.pieces is None:
        frame_of = np.arange(len(utterance.units))
    else:
        lengths = builder.pieces.frames[example.token[2:-1] - builder.vocab.unit_offset].astype(int)
        frame_of = np.repeat(np.arange(len(lengths)), lengths)
    return [2 + np.unique(frame_of[w.start_frame : w.end_frame]) for w in utterance.words]


def _written(utterance: Utterance, builder: ExampleBuilder) -> list[np.ndarray]:
    """The token positions of each word's text, by the bytes of the whole text that each piece covers."""
    text = " ".join(w.text for w in utterance.words)
    spans = builder.tokenizer.byte_spans(text)
    places, begin = [], 0
    for word in utterance.words:
        end = begin + len(word.text.encode())
        places.append(np.array([2 + i for i, (a, b) in enumerate(spans) if a < end and b > begin], int))
        begin = end + 1
    return places


def _units_of(place: np.ndarray, unit_T: np.ndarray, mostly: bool) -> np.ndarray:
    """The patch positions of these tokens.

    `mostly` keeps those of whose tokens at least half are among them, or else the one with the largest share.
    """
    units, counts = np.unique(unit_T[place], return_counts=True)
    if not mostly:
        return units
    share = counts / np.array([(unit_T == u).sum() for u in units])
    return units[share >= 0.5] if (share >= 0.5).any() else units[[share.argmax()]]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-12)
