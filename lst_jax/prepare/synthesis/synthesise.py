"""`lst prepare synthesise`: speech from text, with the times of its words, by a synthesiser that can be exchanged.

    DIR/synthesis.json             what it is made from; another input is refused
    DIR/audio/00003/07-NAME.flac   16 kHz, mono; a folder of SHARD utterances is there whole or not at all
    DIR/audio/00003/shard.json     their lines of the two files below, and what was left out
    DIR/words.ctm                  for `lst prepare speech --aligner ctm:DIR/words.ctm`
    DIR/report.json                counts, and what was left out and why
    DIR/manifest.jsonl             for `lst prepare speech --manifest`; the last to be written

A run that was killed at any time is continued by the same command and ends with the same bytes.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr
import tqdm

from lst_jax.core import files
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import rng
from lst_jax.data.alignment import check_placed
from lst_jax.data.importers import base, ctm
from lst_jax.prepare import audio
from lst_jax.prepare.digests import begin, digest
from lst_jax.prepare.engines import processes
from lst_jax.prepare.synthesis.protocol import Synthesiser
from lst_jax.prepare.utterances import Utterance
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

VERSION = 1  # of what is written here; raise it when any byte changes
SHARD = 32  # utterances: some seconds of work
READ_TOGETHER = 64  # shard.json files
IDENTITY_NAME, MANIFEST_NAME, WORDS_NAME, REPORT_NAME = "synthesis.json", "manifest.jsonl", "words.ctm", "report.json"
AUDIO, SHARD_NAME = "audio", "shard.json"


class Made(NamedTuple):
    """What became of a shard."""

    utterances: int
    words: int
    seconds: float
    manifest: list[dict[str, Any]]
    ctm: list[str]
    rejected: dict[str, list[str]]  # id: [reason, message]


class Report(NamedTuple):
    """The outcome."""

    directory: Place
    utterances: int
    words: int
    seconds: float
    voices: dict[str, int]
    rejected: dict[str, list[str]]

    def line(self) -> str:
        """One line for the log."""
        return (
            f"{self.directory}: {self.utterances} utterances, {self.words} words, {self.seconds / 3600:.2f} h, "
            f"{len(self.voices)} voice{'s' * (len(self.voices) != 1)}"
            f"{left_out(self.rejected, self.directory / REPORT_NAME)}"
        )


def left_out(rejected: dict[str, list[str]], report: Place) -> str:
    """The end of a line about items that were left out, by reason; nothing where there are none."""
    if not rejected:
        return ""
    reasons = collections.Counter(reason for reason, _ in rejected.values()).most_common()
    return f"; {len(rejected)} left out ({', '.join(f'{n} {reason}' for reason, n in reasons)}), {report} says why"


def synthesise(
    utterances: Sequence[Utterance],
    out_dir: str | os.PathLike | Place,
    synthesiser: Synthesiser,
    voices: Sequence[str],
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Report:
    """Speaks utterances into a directory (see the module), or finishes one that was begun with the same input.

    Neither `workers` nor interruptions change a byte. Raises: DataError where the directory holds something else, a
    voice is unknown, or nothing could be spoken; StorageError.
    """
    for voice in voices:
        synthesiser.check_voice(voice)
    out = to_place(out_dir)
    identity = {
        "version": VERSION,
        "synthesiser": synthesiser.name,
        "voices": list(voices),
        "utterances": digest(json.dumps(one, sort_keys=True) for one in utterances),
    }
    begin(out, IDENTITY_NAME, identity, (MANIFEST_NAME, WORDS_NAME, REPORT_NAME, AUDIO), overwrite)
    if objects.exists(out / MANIFEST_NAME):
        return Report(out, **json.loads(objects.read_text(out / REPORT_NAME)))
    shards = [
        (number, utterances[start : start + SHARD]) for number, start in enumerate(range(0, len(utterances), SHARD))
    ]
    there = objects.sizes(out / AUDIO)
    missing = [(number, some) for number, some in shards if f"{_folder_name(number)}/{SHARD_NAME}" not in there]
    done = len(utterances) - sum(len(some) for _, some in missing)
    made = processes.ordered_map(ShardMaker(synthesiser, out, tuple(voices)), missing, workers)
    with tqdm.tqdm(
        total=len(utterances), initial=done, desc=f"synthesise {out.name}", unit="utterance", disable=not progress
    ) as bar:
        for count in made:
            bar.update(count)
    return _close(out, len(shards))


class ShardMaker:
    """Writes the folder of a shard; gives the number of its utterances."""

    def __init__(self, synthesiser: Synthesiser, out: Place, voices: tuple[str, ...]):
        """Pickles as its settings, as the synthesiser does."""
        self.synthesiser, self.out, self.voices = synthesiser, out, voices

    def __call__(self, shard: tuple[int, Sequence[Utterance]]) -> int:
        """See the class; what cannot be spoken is left out and said in shard.json."""
        number, utterances = shard
        target = self.out / AUDIO / _folder_name(number)
        lines, times, rejected, words, seconds = [], [], {}, 0, 0.0
        with _filling(target) as folder:
            for place, utterance in enumerate(utterances):
                voice = self.voices[int(rng.generator("voice", utterance.id).integers(len(self.voices)))]
                try:
                    samples, placed = self._speak(utterance.text, voice)
                except RejectedItem as error:
                    rejected[utterance.id] = [error.reason, str(error)]
                    continue
                name = f"{place:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', utterance.id)[:60]}.flac"
                soundfile.write(folder / name, samples, audio.RATE, format="FLAC", subtype="PCM_16")
                lines.append(
                    {
                        "id": utterance.id,
                        "audio": f"{AUDIO}/{target.name}/{name}",
                        "text": utterance.text,
                        "speaker": voice,
                        **utterance.fields,
                    }
                )
                times += [
                    f"{utterance.id} {ctm.CHANNEL} {start_sec:.4f} {end_sec - start_sec:.4f} {word}"
                    for word, start_sec, end_sec in placed
                ]
                words, seconds = words + len(placed), seconds + len(samples) / audio.RATE
            files.write_json(folder / SHARD_NAME, Made(len(lines), words, seconds, lines, times, rejected)._asdict())
        return len(utterances)

    def _speak(self, text: str, voice: str) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
        """Samples at audio.RATE, and the words. Raises: RejectedItem where they are not what the protocol says."""
        if not text:
            raise RejectedItem("no spoken words", "its text has no word to speak; leave it out")
        words = [base.exportable_word(word, "CTM") for word in text.split(" ")]
        speech = self.synthesiser.speak(text, voice)
        samples, length_sec = np.asarray(speech.samples, np.float32), len(speech.samples) / speech.rate
        if len(samples) < audio.SHORTEST_SEC * speech.rate or not np.isfinite(samples).all() or not samples.any():
            raise RejectedItem("no sound", f"{self.synthesiser.name} makes no sound of {text!r}; leave it out")
        placed = [(word, *times) for word, times in zip(words, speech.words, strict=False)]
        if len(speech.words) != len(words) or max(end_sec for *_, end_sec in placed) > length_sec + 1e-6:
            raise RejectedItem(
                "bad times",
                f"{self.synthesiser.name} gives {len(speech.words)} intervals for "
                f"{len(words)} words in {length_sec:g} s; correct the synthesiser",
            )
        check_placed(placed)
        if speech.rate != audio.RATE:
            samples = soxr.resample(samples, speech.rate, audio.RATE)
        return np.clip(samples, -1, 1), placed


def _folder_name(number: int) -> str:
    return f"{number:05d}"


@contextlib.contextmanager
def _filling(target: Place) -> Iterator[pathlib.Path]:
    """Gives a folder of this machine to fill with a shard. In a bucket, shard.json is written last: it says that all is there."""
    if isinstance(target, pathlib.Path):
        with files.whole_directory(target, target.with_name(f".{target.name}.part")) as folder:
            yield folder
        return
    with objects.scratch_to_fill("synthesis") as folder:
        yield folder
        objects.write_many({target / p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != SHARD_NAME})
        objects.upload(folder / SHARD_NAME, target / SHARD_NAME)


def _close(out: Place, shard_count: int) -> Report:
    """Joins what the shards say. Raises: DataError where nothing could be spoken."""

    def shards() -> Iterator[Made]:
        places = [out / AUDIO / _folder_name(number) / SHARD_NAME for number in range(shard_count)]
        for start in range(0, shard_count, READ_TOGETHER):
            for content in objects.read_many(places[start : start + READ_TOGETHER]):
                yield Made(**json.loads(content))

    report = Report(out, 0, 0, 0.0, {}, {})
    for one in shards():
        voices = collections.Counter(line["speaker"] for line in one.manifest) + collections.Counter(report.voices)
        report = Report(
            out,
            report.utterances + one.utterances,
            report.words + one.words,
            report.seconds + one.seconds,
            dict(sorted(voices.items())),
            {**report.rejected, **one.rejected},
        )
    objects.write_json(out / REPORT_NAME, {k: v for k, v in report._asdict().items() if k != "directory"})
    if not report.utterances:
        name, (_, message) = next(iter(report.rejected.items()))
        raise DataError(
            f"{out}: none of {len(report.rejected)} utterances could be spoken ({name}: "
            f"{message.replace(';', ',')}); mend the texts or choose another synthesiser"
        )
    _write_lines(out / WORDS_NAME, (line for one in shards() for line in one.ctm))
    _write_lines(
        out / MANIFEST_NAME, (json.dumps(line, ensure_ascii=False) for one in shards() for line in one.manifest)
    )
    return report


def _write_lines(place: Place, lines: Iterator[str]) -> None:
    with objects.filling(place) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
