"""Word times from a wav2vec2 or HuBERT model with a CTC head: an `Aligner` of preparation, by characters."""

import collections
import functools
import os
import pathlib
import unicodedata
from collections.abc import Sequence

import jax
import numpy as np

from lst_jax.core import json_files
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import Placed, regroup
from lst_jax.prepare import pronounce
from lst_jax.prepare.acoustic import ctc, wav2vec2
from lst_jax.prepare.acoustic.encoder import Encoder, bucket
from lst_jax.prepare.aligners.fit import CTC_LEAST_SCORE
from lst_jax.storage.at_hand import at_hand

VERSION = "1"  # enters the aligner's name: another version may place words elsewhere


class Characters:
    """A CTC vocabulary: text to character ids.

    Letters are looked up as they stand, then in upper case, lower case and without accents; what is still unknown is
    skipped. Numbers and symbols that the vocabulary lacks are spelt out in English (`pronounce.spoken_words`).
    """

    def __init__(self, directory: str | os.PathLike):
        """Reads vocab.json and the tokenizer's settings, if there are any. Raises: DataError."""
        path = pathlib.Path(directory) / "vocab.json"
        vocabulary = json_files.read_model_file(path)
        if not vocabulary or not all(type(index) is int for index in vocabulary.values()):
            raise DataError(f"{path}: must map characters to ids, one language only; choose another model")
        special = {"pad_token": "<pad>", "word_delimiter_token": "|"}  # the defaults of Wav2Vec2CTCTokenizer
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            settings = json_files.read_model_file(path.with_name(name)) if path.with_name(name).is_file() else {}
            for token in special.keys() & settings.keys():
                value = settings[token]
                special[token] = value["content"] if isinstance(value, dict) else value
        for token, text in special.items():
            if text not in vocabulary:
                raise DataError(f"{path}: lacks the {token} {text!r}; name the right one in tokenizer_config.json")
        self.size = max(vocabulary.values()) + 1
        self.blank, self.separator = vocabulary[special["pad_token"]], vocabulary[special["word_delimiter_token"]]
        self._ids = {
            text: index
            for text, index in vocabulary.items()
            if len(text) == 1 and index not in (self.blank, self.separator)
        }

    def spell(self, word: str) -> tuple[list[list[int]], list[str]]:
        """Ids of the spoken words of a written word, and the letters and digits that were skipped.

        Example: "Fly-by," -> [ids of FLYBY]; "42" -> [ids of FORTY], [ids of TWO]; "--" -> nothing
        """
        unknown: list[str] = []
        known = all(self._find(c) for c in word if c.isdecimal() or c in pronounce.SYMBOLS)
        groups = []
        for spoken in [word] if known else pronounce.spoken_words(word):
            ids: list[int] = []
            for character in spoken:
                found = self._find(character)
                ids.extend(found)
                if not found and character.isalnum():
                    unknown.append(character)
            groups += [ids] if ids else []
        return groups, unknown

    def _find(self, character: str) -> list[int]:
        character = "'" if character == "’" else character
        bare = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
        for text in (character, character.upper(), character.lower(), bare, bare.upper(), bare.lower()):
            if text and all(c in self._ids for c in text):
                return [self._ids[c] for c in text]
        return []


class CtcAligner:
    """The best CTC path of a text's characters; a word lasts from its first character's first frame to its last's last.

    CTC models say a character in few frames, so words come out a little short and the gaps between them long.
    `least_score` is the lowest mean log-probability of a text's characters that counts as a match. Which value tells
    right from wrong text best depends on the model: `lst bench align` shows what one does.
    `unknown` counts the letters and digits that were skipped so far.
    """

    def __init__(self, directory: str | os.PathLike, least_score: float | None = None):
        """Loads the model; one in a bucket is copied here. Raises: DataError where the directory is no CTC model."""
        self.directory, self.least_score = os.fspath(directory), CTC_LEAST_SCORE if least_score is None else least_score
        folder = at_hand(directory)
        self.encoder, self.characters = Encoder(folder), Characters(folder)
        if self.characters.size > self.encoder.arch.vocab_size:
            raise DataError(
                f"{directory}: vocab.json has ids up to {self.characters.size - 1}, the model "
                f"{self.encoder.arch.vocab_size} outputs; take both from one model"
            )
        self.name = f"ctc-{VERSION}/{self.encoder.fingerprint}/pronounce-{pronounce.VERSION}"
        self.name += f"/least-score{self.least_score:g}"
        self.unknown: collections.Counter[str] = collections.Counter()

    def __reduce__(self):
        """Pickles as its settings: parameters belong to one process."""
        return type(self), (self.directory, self.least_score)

    def align(self, item_id: str, audio: np.ndarray, words: Sequence[str]) -> list[Placed]:
        """(word, start_sec, end_sec) of each of `words`, in order, for float32 audio at 16 kHz.

        Bare punctuation joins the word before it, else the next. Raises: RejectedItem where they cannot be placed.
        """
        placed = self.align_batch([item_id], [audio], [words])[0]
        if isinstance(placed, RejectedItem):
            raise placed
        return placed

    def align_batch(
        self, item_ids: Sequence[str], recordings: Sequence[np.ndarray], texts: Sequence[Sequence[str]]
    ) -> list[list[Placed] | RejectedItem]:
        """`align` of several recordings, in batches of similar length; what cannot be placed is a RejectedItem."""
        results: dict[int, list[Placed] | RejectedItem] = {}
        spelt: dict[int, tuple[list[int], list[int]]] = {}
        for place, (recording, words) in enumerate(zip(recordings, texts, strict=True)):
            try:
                spelt[place] = self._text(recording, words)
            except RejectedItem as error:
                results[place] = error
        heard = {place: self.encoder.heard(recordings[place]) for place in spelt}
        for places, audio_BS, samples_B in self.encoder.batches(heard):
            found = self._search(audio_BS, samples_B, [spelt[i][1] for i in places])
            for row, place in enumerate(places):
                results[place] = self._place(
                    jax.tree.map(lambda a, row=row: a[row], found), *spelt[place], texts[place], len(recordings[place])
                )
        return [results[place] for place in range(len(recordings))]

    def guessed(self, words: Sequence[str]) -> list[str]:
        """Those of `words` with letters or digits that the vocabulary lacks, each once."""
        return [word for word in dict.fromkeys(words) if self.characters.spell(word)[1]]

    def _text(self, recording: np.ndarray, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Spoken words of each written one, and the ids of them all with separators. Raises: RejectedItem."""
        counts, ids = [], []
        for word in words:
            groups, unknown = self.characters.spell(word)
            self.unknown.update(unknown)
            counts.append(len(groups))
            for group in groups:
                ids += [self.characters.separator] * bool(ids) + group
        if not ids:
            raise RejectedItem(
                "no spoken words", f"text {' '.join(words)!r} has no character of the model; correct the text"
            )
        frames, needed = self.encoder.check(recording), ctc.needed_frames(ids)
        if frames < needed:
            raise RejectedItem(
                "too little audio",
                f"the text needs {needed} frames, the audio has {frames}; does the text match the audio?",
            )
        return counts, ids

    def _search(self, audio_BS: np.ndarray, samples_B: np.ndarray, texts: Sequence[Sequence[int]]) -> ctc.Alignment:
        text_BN = np.zeros((len(samples_B), bucket(max(map(len, texts)))), np.int32)
        length_B = np.zeros(len(samples_B), np.int32)
        for row, text in enumerate(texts):
            text_BN[row, : len(text)], length_B[row] = text, len(text)
        log_prob_BTV = wav2vec2.log_probs(self.encoder.params, audio_BS, samples_B, arch=self.encoder.arch)
        frames_B = np.maximum(self.encoder.arch.frames(samples_B), 0)
        return jax.device_get(ctc.align(log_prob_BTV, frames_B, text_BN, length_B, blank=self.characters.blank))

    def _place(
        self, found: ctc.Alignment, counts: Sequence[int], ids: Sequence[int], words: Sequence[str], samples: int
    ) -> list[Placed] | RejectedItem:
        """Times of the written words of one recording; `found` is its row."""
        assert found.fits_B
        score = float(found.score_BN[: len(ids)].mean())
        if score < self.least_score:
            return RejectedItem(
                "poor match",
                f"score {score:.2f} a character is below {self.least_score:g}; does the text match the audio?",
            )
        spans = ctc.word_spans(found.start_BN, found.end_BN, ids, self.characters.separator)
        seconds = functools.partial(frame_seconds, self.encoder.arch, samples)
        return regroup(words, counts, [(seconds(start), seconds(end)) for start, end in spans])


def frame_seconds(arch: wav2vec2.Architecture, samples: int, frame: int) -> float:
    """Where a frame begins, inside a recording of `samples`: midway between its centre and the one before.

    Frame t sees [t·hop, t·hop + window), so that it stands for the hop in the middle of that.
    """
    sample = frame * arch.hop + (arch.window - arch.hop) / 2
    return min(sample, samples) / wav2vec2.SAMPLE_RATE
