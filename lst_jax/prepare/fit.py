"""`lst prepare units-fit` and `tokenizer`: single files that are learned from a corpus."""

import dataclasses
import functools
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tqdm

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import text
from lst_jax.prepare import manifest
from lst_jax.prepare.accounts import Rejection
from lst_jax.prepare.corpora import audio_place, listed
from lst_jax.prepare.corpora.corpus import PART_ITEMS, Corpus
from lst_jax.prepare.digests import digest
from lst_jax.prepare.engines import processes
from lst_jax.prepare.makers import each, rejection_of
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LEVEL_DB, LogMelKMeans, feature_chunks
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

# What `lst prepare tokenizer --kind` trains
TOKENIZERS = {"sentencepiece": text.train_tokenizer, "byte-level": text.train_byte_pieces}
FIT_FRAMES = 200_000  # frames that k-means sees; 320 float32 each
FROM_EACH = 32  # items of each part of a large corpus: more than enough frames, of all its speakers
FRAMES_PER_RECORDING = 15_000  # of k-means, ten minutes: a longer recording gives its beginning


def fit_identity(
    corpus: Corpus, k: int, seed: int, max_frames: int, channel: str | None = None
) -> dict[str, typing.Any]:
    """What a fit is made from, for `made.begin`. Of a large corpus only its manifests are looked at."""
    settings = {"k": k, "seed": seed, "max_frames": max_frames} | ({} if channel is None else {"channel": channel})
    if not corpus.is_small:
        return {**settings, "recordings": digest(part.digest for part in corpus.parts(PART_ITEMS)), **corpus.choices()}
    return {
        **settings,
        "recordings": digest(item.id for item in corpus.items()),
        "audio_files": digest(_file_states(corpus.items())),
    }


def drawn(corpus: Corpus, seed: int) -> Iterator[manifest.Item | manifest.BadItem]:
    """Items of a corpus in random order: all, or of a large one FROM_EACH of each part, the parts in random order."""
    rng = np.random.default_rng(seed)
    if corpus.is_small:
        items = list(corpus.items())
        yield from (items[i] for i in rng.permutation(len(items)))
        return
    parts = list(corpus.parts(PART_ITEMS))
    for number in rng.permutation(len(parts)):
        chosen: list[manifest.Item | manifest.BadItem] = []
        for seen, item in enumerate(corpus.readers.read(parts[number])):
            if seen < FROM_EACH:
                chosen.append(item)
            elif (place := int(rng.integers(seen + 1))) < FROM_EACH:  # Vitter's algorithm R
                chosen[place] = item
        yield from (chosen[i] for i in rng.permutation(len(chosen)))


def fit_units(
    corpus: Corpus | Sequence[manifest.Item | manifest.BadItem],
    out_path: str | os.PathLike,
    k: int,
    seed: int,
    workers: int = 1,
    max_frames: int = FIT_FRAMES,
    overwrite: bool = False,
    progress: bool = False,
    channel: str | None = None,
) -> tuple[LogMelKMeans, int, list[Rejection]]:
    """Fits the embedded unit tokenizer to recordings drawn in random order until there are `max_frames` frames.

    `channel` is used of recordings that have several, where the item does not say which.

    Returns: the tokenizer (saved at `out_path`), the frames it saw, and the recordings that could not be read.
    """
    _refuse_existing(out_path, overwrite)
    if max_frames < k:
        raise DataError(f"max_frames={max_frames}: is less than k={k}; give more")
    if not isinstance(corpus, Corpus):
        corpus = listed.corpus_of(corpus, "speech")
    chunks, rejected, frames = [], [], 0
    made = processes.ordered_map(functools.partial(_features, channel), drawn(corpus, seed), workers)
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
    if frames < k and rejected:
        raise DataError(
            f"{corpus.where}: {frames} frames for {k} centroids, as {len(rejected)} recordings were rejected, the first for "
            f"{rejected[0].reason!r} ({rejected[0].message.replace(';', ',')}); mend the input"
        )
    made.close()  # ty: ignore[missing-attribute]
    tokenizer = LogMelKMeans.fit(chunks, k, seed, progress=progress)
    tokenizer.save(out_path)
    return tokenizer, frames, rejected


def train_text_tokenizer(
    texts: Iterable[str],
    out_path: str | os.PathLike,
    size: int,
    overwrite: bool = False,
    kind: str = "sentencepiece",
) -> None:
    """Trains a tokenizer of `size` pieces, of one of `TOKENIZERS`. Raises: DataError, StorageError."""
    _refuse_existing(out_path, overwrite)
    TOKENIZERS[kind](texts, out_path, size)


def _features(channel: str | None, item: manifest.Item | manifest.BadItem) -> np.ndarray | Rejection:
    """Features of the first minutes of a recording. Channels that say different things are refused, as by `speech`."""
    if isinstance(item, manifest.BadItem):
        return Rejection(item.id, item.reason, item.message)
    recording = item.recording
    if recording.channel is None:
        recording = dataclasses.replace(recording, channel=channel)
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
