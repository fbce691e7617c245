"""`lst inspect`: what a directory of records holds, in numbers."""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tqdm

from lst_jax.core.errors import DataError
from lst_jax.data import remote
from lst_jax.data.patching import AlignedRule, BoundaryRule, SpeechRun, StaticRule
from lst_jax.data.records import Utterance
from lst_jax.data.shards import METADATA_NAME, RecordDirectory, count_records, read_metadata
from lst_jax.data.sources import TFDS_PREFIX, RecordSource, open_records
from lst_jax.data.unit_pieces import UnitPieces, check_codebook
from lst_jax.prepare.accounts import REPORT_NAME
from lst_jax.storage import objects
from lst_jax.storage.place import Place

STATIC_SIZE = 4  # the paper's main setting


def open_directory(path: str | os.PathLike) -> RecordSource:
    """Opens a directory, or a TFDS dataset, of whichever kind it says it is. Raises: DataError."""
    if os.fspath(path).startswith(TFDS_PREFIX):
        return open_records(os.fspath(path), None)
    place = remote.readable(path)
    metadata = read_metadata(place)
    if metadata.kind == "utterance" and (metadata.unit_rate is None or metadata.codebook_size is None):
        raise DataError(f"{path}: speech without unit_rate or codebook_size in its metadata; run `lst prepare` again")
    return RecordDirectory(place, metadata.kind)


def summarise(
    directory: RecordSource, static_size: int = STATIC_SIZE, pieces: UnitPieces | None = None, progress: bool = False
) -> dict[str, Any]:
    """Counts and statistics of all records, in JSON types. Lengths of patches, and of `pieces`, are in frames."""
    metadata = dataclasses.asdict(directory.metadata)
    shards = metadata.pop("shards")
    summary = {
        "directory": str(directory.path),
        **metadata,
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "rejected": _rejected(directory.path),
    }
    every = tqdm.tqdm(directory, total=len(directory), desc="inspect", unit="record", disable=not progress)
    if directory.kind == "text":
        if pieces is not None:
            raise DataError(f"{directory.path}: holds text, {pieces.path} is for speech; leave the unit tokenizer out")
        return {**summary, **_text_statistics(every)}
    if pieces is not None:
        check_codebook(pieces, directory.metadata, str(directory.path / METADATA_NAME))
    return {**summary, **_speech_statistics(every, directory.metadata, static_size, pieces)}


def verify(directory: RecordSource) -> list[str]:
    """Checks every checksum and every record, and counts what metadata.json says: one line for each wrong count.

    A shard that holds more or fewer records than its entry is reported first: frames and words are then not counted.
    Raises: DataError naming the first file or record that is damaged.
    """
    metadata, file = directory.metadata, directory.path / METADATA_NAME
    if not isinstance(directory, RecordDirectory) and not all(shard.sha256 for shard in metadata.shards):
        directory.verify()  # of another program: there are no counts to compare
        return []
    counted = [count_records(directory.path / shard.name) for shard in metadata.shards]
    wrong = [
        f"{file}: {shard.name}: records={shard.records}, the shard holds {number}; prepare the directory again"
        for shard, number in zip(metadata.shards, counted, strict=True)
        if shard.records != number
    ]
    if wrong:
        return [*wrong, f"{file}: records={metadata.records}, the shards hold {sum(counted)}; prepare it again"]
    directory.verify()
    frames = words = 0
    for record in directory:
        speech = isinstance(record, Utterance)
        frames += len(record.units) if speech else 0
        words += len(record.words) if speech else len(record.text.split())
    return [
        f"{file}: {name}={said}, the records hold {number}; prepare the directory again"
        for name, said, number in (("frames", metadata.frames, frames), ("words", metadata.words, words))
        if said != number
    ]


def find(directory: RecordSource, name: str) -> Utterance:
    """The utterance with id `name`. Raises: DataError where there is none or the directory holds text."""
    if directory.kind != "utterance":
        raise DataError(f"{directory.path}: holds text, a picture needs utterances; give a directory of speech")
    for utterance in directory:
        if utterance.id == name:
            return utterance
    raise DataError(
        f"{directory.path}: {name}: no utterance has this id, the first is {directory[0].id!r}; "
        f"{REPORT_NAME} says whether it was rejected"
    )


def speech_run(utterance: Utterance) -> SpeechRun:
    """The whole utterance as one span of speech."""
    return SpeechRun(
        len(utterance.units),
        np.array([w.start_frame for w in utterance.words], np.int64),
        np.array([w.end_frame for w in utterance.words], np.int64),
    )


def patches(utterance: Utterance, rule: BoundaryRule) -> tuple[np.ndarray, np.ndarray]:
    """First frame and length int64 [patches] of each patch of the whole utterance under a boundary rule."""
    start, _ = rule.boundaries(speech_run(utterance))
    first = np.flatnonzero(start)
    return first, np.diff(first, append=len(utterance.units))


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """The summary for people."""
    yield f"{summary['directory']}: {summary['records']} records of kind {summary['kind']}"
    yield (
        f"  files        {summary['shards']} shards, {summary['bytes'] / 2**20:.1f} MiB, "
        f"made by {_maker(summary['code_version'])}"
    )
    if summary["rejected"] is None:
        yield "  rejected     unknown (there is no report.json)"
    else:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary["rejected"]["reasons"].items())
        yield f"  rejected     {summary['rejected']['count']}{f': {reasons}' if reasons else ''}"
    if summary["kind"] == "text":
        yield (
            f"  text         {summary['words']} words, {summary['characters']} characters; a document has "
            f"{_spread(summary['document_words'])} words"
        )
        return
    yield (
        f"  units        {summary['unit_rate']:g} Hz, codebook {summary['codebook_size']} "
        f"({summary['codebook_fingerprint']}), aligner {summary['aligner']}"
    )
    yield (
        f"  duration     {summary['hours']:.2f} h, {summary['frames']} frames; an utterance has "
        f"{_spread(summary['utterance_seconds'])} s"
    )
    yield (
        f"  words        {summary['words']} ({summary['distinct_words']} distinct), "
        f"{summary['words_per_second']:.2f} a second, over {summary['word_share']:.1%} of the frames"
    )
    usage = summary["unit_usage"]
    yield (
        f"  unit usage   {usage['used']} of {summary['codebook_size']} used, entropy {usage['entropy_bits']:.2f} of "
        f"{usage['most_bits']:.2f} bits, {usage['repeats']:.1%} repeat the unit before"
    )
    for name, lengths in summary["patch_frames"].items():
        yield f"  patches      {name}: {lengths['count']}, {_spread(lengths)} frames"


def _maker(version: str) -> str:
    """Example: "1.2.0" -> "lst 1.2.0"; "lm1b 1.1.0", a TFDS dataset of another program, stays."""
    return version if " " in version else f"lst {version}"


def _speech_statistics(
    every: Iterable[Utterance], metadata: Any, static_size: int, pieces: UnitPieces | None
) -> dict[str, Any]:
    lengths: dict[str, list[np.ndarray]] = {
        f"static {static_size}": [],
        "aligned": [],
        "aligned, words": [],
        "aligned, silence": [],
    }
    if pieces is not None:
        lengths[f"unit pieces {len(pieces)}"] = []
    usage, repeats, durations, vocabulary = np.zeros(metadata.codebook_size, np.int64), 0, [], set()
    for utterance in every:
        durations.append(len(utterance.units))
        if len(utterance.units) and utterance.units.max() >= len(usage):
            raise DataError(
                f"{utterance.id}: unit {utterance.units.max()} is not below codebook_size={len(usage)} of "
                "the metadata; run `lst prepare` again"
            )
        usage += np.bincount(utterance.units, minlength=len(usage))
        repeats += int((utterance.units[1:] == utterance.units[:-1]).sum())
        vocabulary.update(word.text for word in utterance.words)
        lengths[f"static {static_size}"].append(patches(utterance, StaticRule(static_size))[1])
        first, length = patches(utterance, AlignedRule())
        is_word = np.isin(first, speech_run(utterance).word_start)
        for name, chosen in (
            ("aligned", length),
            ("aligned, words", length[is_word]),
            ("aligned, silence", length[~is_word]),
        ):
            lengths[name].append(chosen)
        if pieces is not None:
            lengths[f"unit pieces {len(pieces)}"].append(pieces.frames[pieces.encode(utterance.units)])
    frames = max(metadata.frames, 1)
    share = usage[usage > 0] / max(usage.sum(), 1)
    seconds = np.array(durations) / metadata.unit_rate
    return {
        "hours": frames / metadata.unit_rate / 3600,
        "utterance_seconds": _statistics(seconds),
        "distinct_words": len(vocabulary),
        "words_per_second": metadata.words * metadata.unit_rate / frames,
        "word_share": float(sum(map(np.sum, lengths["aligned, words"]))) / frames,
        "unit_usage": {
            "used": int((usage > 0).sum()),
            "entropy_bits": float(-(share * np.log2(share)).sum()),
            "most_bits": float(np.log2(metadata.codebook_size)),
            "repeats": repeats / frames,
        },
        "patch_frames": {name: _statistics(np.concatenate(chunks)) for name, chunks in lengths.items()},
    }


def _text_statistics(every: Iterable[Any]) -> dict[str, Any]:
    words, characters = [], 0
    for document in every:
        words.append(len(document.text.split()))
        characters += len(document.text)
    return {"characters": characters, "document_words": _statistics(np.array(words))}


def _statistics(values: np.ndarray) -> dict[str, float | int]:
    if not len(values):
        return {"count": 0, "mean": 0.0, "least": 0.0, "p5": 0.0, "p50": 0.0, "p95": 0.0, "most": 0.0}
    least, p5, p50, p95, most = np.percentile(values, [0, 5, 50, 95, 100]).tolist()
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "least": least,
        "p5": p5,
        "p50": p50,
        "p95": p95,
        "most": most,
    }


def _spread(s: Mapping[str, float | int]) -> str:
    return (
        f"{s['mean']:.2f} on average (5-95%: {s['p5']:.3g} to {s['p95']:.3g}, all: {s['least']:.3g} to {s['most']:.3g})"
    )


def _rejected(path: Place) -> dict[str, Any] | None:
    """Counts from `report.json`; None where the directory has none (it was imported, not prepared)."""
    file = path / REPORT_NAME
    if not objects.exists(file):
        return None
    try:
        report = json.loads(objects.read_text(file))
        return {"count": report["rejected"], "reasons": {r: report["reasons"][r]["count"] for r in report["reasons"]}}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: is not a report of `lst prepare` ({error}); remove it or prepare again") from error
