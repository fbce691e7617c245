"""`lst prepare`: items to shards, in parallel, resumable shard by shard, with an account of what was left out."""

import dataclasses
import itertools
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tqdm

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import text
from lst_jax.prepare import manifest, recordings
from lst_jax.prepare.aligners.protocol import Aligner, LengthAligner
from lst_jax.prepare.corpora import audio_place
from lst_jax.prepare.corpora.corpus import Corpus
from lst_jax.prepare.directory import Directory, Rejection, Report, digest
from lst_jax.prepare.engines import processes
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.engines.protocol import Engine
from lst_jax.prepare.makers import SpeechMaker, TextMaker, each, rejection_of
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LEVEL_DB, LogMelKMeans, feature_chunks
from lst_jax.prepare.speech_tokenizers.registry import loader
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

SHARD_RECORDS = 1000
MAX_REJECTED = 0.5  # above this share something is wrong with the input as a whole
FIT_FRAMES = 200_000  # frames that k-means sees; 320 float32 each
FRAMES_PER_RECORDING = 15_000  # of k-means, ten minutes: a longer recording gives its beginning
LOCAL = Local()


def prepare_speech(
    items: Sequence[manifest.Item | manifest.BadItem],
    out_dir: str | os.PathLike,
    unit_tokenizer_path: str | os.PathLike,
    aligner: Aligner,
    engine: Engine = LOCAL,
    shard_records: int = SHARD_RECORDS,
    source: str | None = None,
    overwrite: bool = False,
    max_rejected: float = MAX_REJECTED,
    progress: bool = False,
    channel: str | None = None,
) -> Report:
    """Makes a directory of utterance records; a directory begun with the same input is finished.

    The result does not depend on `engine` nor on interruptions. Shard k is made from items [k, k+1)·shard_records.
    `channel` is used of recordings that have several, where an item does not say which.
    Raises: DataError where the directory holds another input, nothing could be prepared, or more than the share
    `max_rejected` was rejected; StorageError where writing fails.
    """
    if isinstance(aligner, LengthAligner):
        aligner = aligner.for_items([item.id for item in items])
    maker = SpeechMaker(loader(unit_tokenizer_path), aligner, source, channel)
    tokenizer = maker.unit_tokenizer
    identity = {
        "kind": "utterance",
        "units": tokenizer.fingerprint,
        "aligner": aligner.name,
        "source": source,
        "transcripts": digest(item.identity() for item in items),
        "audio_files": digest(_file_states(items)),
        **({} if channel is None else {"channel": channel}),
    }
    out = Directory(out_dir, identity, len(items), shard_records, overwrite)
    slices = [(n, items[out.items_of(n)]) for n in range(out.shard_count) if not out.finished(n)]
    done = len(items) - sum(len(chosen) for _, chosen in slices)
    with tqdm.tqdm(
        total=len(items), initial=done, desc=f"prepare {out.path.name}", unit="utterance", disable=not progress
    ) as bar:
        engine.make_shards(out, maker, slices, bar.update)
    return out.close(
        max_rejected,
        kind="utterance",
        unit_rate=tokenizer.unit_rate,
        codebook_size=tokenizer.codebook_size,
        codebook_fingerprint=tokenizer.fingerprint,
        tokenizer_fingerprint=None,
        aligner=aligner.name,
    )


def prepare_text(
    corpus: Corpus,
    out_dir: str | os.PathLike,
    engine: Engine = LOCAL,
    shard_records: int = SHARD_RECORDS,
    overwrite: bool = False,
    max_rejected: float = MAX_REJECTED,
    progress: bool = False,
) -> Report:
    """Makes a directory of text records from JSON-lines or .txt files, read twice: to identify, then to write.

    Memory holds one shard and the ids. With `skip_bad`, lines that are no documents are rejected and the rest goes on.
    Raises: as `prepare_speech`.
    """
    total, seen = 0, set()

    def identified() -> Iterator[str]:
        nonlocal total
        for item in corpus.items():
            if item.id in seen:
                raise DataError(f"{item.id}: two documents have this id; give each its own")
            seen.add(item.id)
            total += 1
            yield item.identity()

    documents = digest(identified())
    if not total:
        raise corpus.empty()
    out = Directory(out_dir, {"kind": "text", "documents": documents}, total, shard_records, overwrite)
    items = corpus.items()

    def slices(bar: tqdm.tqdm) -> Iterator[tuple[int, list]]:
        for number in range(out.shard_count):
            span = out.items_of(number)
            chosen = list(itertools.islice(items, span.stop - span.start))
            if out.finished(number):
                bar.update(len(chosen))
            else:
                yield number, chosen

    with tqdm.tqdm(total=total, desc=f"prepare {out.path.name}", unit="document", disable=not progress) as bar:
        engine.make_shards(out, TextMaker(), slices(bar), bar.update)
    return out.close(
        max_rejected,
        kind="text",
        unit_rate=None,
        codebook_size=None,
        codebook_fingerprint=None,
        tokenizer_fingerprint=None,
        aligner=None,
    )


def fit_identity(
    items: Sequence[manifest.Item | manifest.BadItem], k: int, seed: int, max_frames: int
) -> dict[str, typing.Any]:
    """What a fit is made from, for `made.begin`."""
    return {
        "k": k,
        "seed": seed,
        "max_frames": max_frames,
        "recordings": digest(i.id for i in items),
        "audio_files": digest(_file_states(items)),
    }


def fit_units(
    items: Sequence[manifest.Item | manifest.BadItem],
    out_path: str | os.PathLike,
    k: int,
    seed: int,
    workers: int = 1,
    max_frames: int = FIT_FRAMES,
    overwrite: bool = False,
    progress: bool = False,
) -> tuple[LogMelKMeans, int, list[Rejection]]:
    """Fits the embedded unit tokenizer to recordings drawn in random order until there are `max_frames` frames.

    Returns: the tokenizer (saved at `out_path`), the frames it saw, and the recordings that could not be read.
    """
    _refuse_existing(out_path, overwrite)
    if max_frames < k:
        raise DataError(f"max_frames={max_frames}: is less than k={k}; give more")
    order = np.random.default_rng(seed).permutation(len(items))
    chunks, rejected, frames = [], [], 0
    made = processes.ordered_map(_features, (items[i] for i in order), workers)
    with tqdm.tqdm(total=max_frames, desc="features", unit="frame", disable=not progress) as bar:
        for result in made:
            if isinstance(result, Rejection):
                rejected.append(result)
                continue
            chunks.append(result)
            frames += len(result)
            bar.update(len(result))
            if frames >= max_frames:
                break
    made.close()  # ty: ignore[missing-attribute]
    tokenizer = LogMelKMeans.fit(chunks, k, seed, progress=progress)
    tokenizer.save(out_path)
    return tokenizer, frames, rejected


def train_text_tokenizer(texts: Iterable[str], out_path: str | os.PathLike, size: int, overwrite: bool = False) -> None:
    """Trains a SentencePiece model of `size` pieces. Raises: DataError, StorageError."""
    _refuse_existing(out_path, overwrite)
    text.train_tokenizer(texts, out_path, size)


def _features(item: manifest.Item | manifest.BadItem) -> np.ndarray | Rejection:
    """Features of the first minutes of a recording; of several channels, of their mean."""
    if isinstance(item, manifest.BadItem):
        return Rejection(item.id, item.reason, item.message)
    recording = item.recording
    if recording.channel is None:
        recording = dataclasses.replace(recording, channel=recordings.MEAN)
    (made,) = each(lambda one: _first_features(one.blocks), [recording])
    return rejection_of(item, made).rejection if isinstance(made, RejectedItem) else made


def _first_features(blocks: Callable[[], Iterable[np.ndarray]]) -> np.ndarray:
    chunks, frames = [], 0
    for chunk in feature_chunks(blocks, LEVEL_DB):
        chunks.append(chunk)
        frames += len(chunk)
        if frames >= FRAMES_PER_RECORDING:
            break
    return np.concatenate(chunks)


def _file_states(items: Iterable[manifest.Item | manifest.BadItem]) -> Iterator[str]:
    return (audio_place.state(item.audio) for item in items if isinstance(item, manifest.Item))


def _refuse_existing(path: str | os.PathLike, overwrite: bool) -> None:
    if objects.exists(to_place(path)) and not overwrite:
        raise DataError(f"{path}: is there already; choose another name or pass --overwrite")
