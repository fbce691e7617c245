"""`lst prepare`: items to shards, in parallel, resumable shard by shard, with an account of what was left out."""

import collections
import dataclasses
import functools
import itertools
import os
import pathlib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tqdm

from lst_jax.data import records, text
from lst_jax.data.alignment import to_frames
from lst_jax.errors import DataError, RejectedItem, storage_error
from lst_jax.prepare import align, audio, manifest, parallel, units
from lst_jax.prepare.directory import Directory, Rejection, Report, Sidecar, digest

SHARD_RECORDS = 1000
MAX_REJECTED = 0.5  # above this share something is wrong with the input as a whole
FIT_FRAMES = 200_000  # frames that k-means sees; 320 float32 each

T = typing.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Made:
    """What became of one item: the record's bytes and counts, or a rejection."""

    payload: bytes | None
    frames: int
    words: int
    rejection: Rejection | None
    guessed: tuple[str, ...]


class SpeechMaker:
    """Item → utterance record. Pickles as its settings; each process loads its own tokenizer and decoder."""

    def __init__(self, unit_tokenizer_path: str | os.PathLike, aligner: align.Aligner, source: str | None):
        """`source` is written into every record."""
        self.unit_tokenizer_path, self.aligner, self.source = unit_tokenizer_path, aligner, source

    @functools.cached_property
    def unit_tokenizer(self) -> units.UnitTokenizer:
        """The unit tokenizer, loaded at the first use."""
        return units.load_unit_tokenizer(self.unit_tokenizer_path)

    def __reduce__(self):
        """See the class."""
        return type(self), (self.unit_tokenizer_path, self.aligner, self.source)

    def __call__(self, item: manifest.Item) -> Made:
        """Units, alignment, record; anything wrong with the item becomes its rejection."""
        try:
            if not item.text:
                raise RejectedItem("empty transcript", "its text is empty; add the words or leave it out")
            samples = audio.load_audio(item.audio_path)
            ids = self.unit_tokenizer.encode(samples, audio.RATE)
            placed = self.aligner.align(samples, item.text.split())
            words = to_frames(placed, self.unit_tokenizer.unit_rate, len(ids))
        except RejectedItem as error:
            return Made(None, 0, 0, Rejection(item.id, error.reason, str(error)), ())
        utterance = records.Utterance(item.id, ids, words, item.speaker, self.source)
        records.check_utterance(utterance, self.unit_tokenizer.codebook_size)
        return Made(records.encode(utterance), len(ids), len(words), None,
                    tuple(self.aligner.guessed(item.text.split())))


def prepare_speech(items: Sequence[manifest.Item], out_dir: str | os.PathLike,
                   unit_tokenizer_path: str | os.PathLike, aligner: align.Aligner, workers: int = 1,
                   shard_records: int = SHARD_RECORDS, source: str | None = None, overwrite: bool = False,
                   max_rejected: float = MAX_REJECTED, progress: bool = False) -> Report:
    """Makes a directory of utterance records; a directory begun with the same input is finished.

    The result does not depend on `workers` nor on interruptions. Shard k is made from items [k, k+1)·shard_records.
    Raises: DataError where the directory holds another input, nothing could be prepared, or more than the share
    `max_rejected` was rejected; StorageError where writing fails.
    """
    tokenizer = units.load_unit_tokenizer(unit_tokenizer_path)
    identity = {
        "kind": "utterance", "units": tokenizer.fingerprint, "aligner": aligner.name, "source": source,
        "transcripts": digest(f"{i.id}\0{i.text}\0{i.speaker}" for i in items),
        "audio_files": digest(_file_state(i.audio_path) for i in items)}
    out = Directory(out_dir, identity, len(items), shard_records, overwrite)
    maker = SpeechMaker(unit_tokenizer_path, aligner, source)
    done = {n: s for n in range(out.shard_count) if (s := out.finished(n))}
    todo = [n for n in range(out.shard_count) if n not in done]
    todo_items = itertools.chain.from_iterable(items[out.items_of(n)] for n in todo)
    made = parallel.ordered_map(maker, todo_items, workers)
    with tqdm.tqdm(total=len(items), initial=sum(s.items for s in done.values()), desc=f"prepare {out.path.name}",
                   unit="utterance", disable=not progress) as bar:
        for number in todo:
            size = len(items[out.items_of(number)])
            done[number] = _write(out, number, _ticking(itertools.islice(made, size), bar))
    return out.close([done[n] for n in range(out.shard_count)], max_rejected, kind="utterance",
                     unit_rate=tokenizer.unit_rate, codebook_size=tokenizer.codebook_size,
                     codebook_fingerprint=tokenizer.fingerprint, tokenizer_fingerprint=None, aligner=aligner.name)


def prepare_text(paths: Sequence[str | os.PathLike], out_dir: str | os.PathLike, where: Mapping[str, str],
                 shard_records: int = SHARD_RECORDS, overwrite: bool = False, max_rejected: float = MAX_REJECTED,
                 progress: bool = False) -> Report:
    """Makes a directory of text records from JSON-lines or .txt files, read twice: to identify, then to write.

    Memory holds one shard and the ids. Raises: as `prepare_speech`.
    """
    total, seen = 0, set()

    def identified() -> Iterator[str]:
        nonlocal total
        for item in _documents(paths, where):
            if item.id in seen:
                raise DataError(f"{item.id}: two documents have this id; give each its own")
            seen.add(item.id)
            total += 1
            yield f"{item.id}\0{item.text}"

    documents = digest(identified())
    if not total:
        raise DataError(f"{', '.join(map(str, paths))}: no documents{f' with {dict(where)}' if where else ''}; add "
                        "some or change the filter")
    out = Directory(out_dir, {"kind": "text", "documents": documents}, total, shard_records, overwrite)
    items, sidecars = _documents(paths, where), []
    with tqdm.tqdm(total=total, desc=f"prepare {out.path.name}", unit="document", disable=not progress) as bar:
        for number in range(out.shard_count):
            span = out.items_of(number)
            chosen = list(_ticking(itertools.islice(items, span.stop - span.start), bar))
            sidecars.append(out.finished(number) or _write(out, number, map(_make_text, chosen)))
    return out.close(sidecars, max_rejected, kind="text", unit_rate=None, codebook_size=None, codebook_fingerprint=None,
                     tokenizer_fingerprint=None, aligner=None)


def fit_identity(items: Sequence[manifest.Item], k: int, seed: int, max_frames: int) -> dict[str, typing.Any]:
    """What a fit is made from, for `made.begin`."""
    return {"k": k, "seed": seed, "max_frames": max_frames, "recordings": digest(i.id for i in items),
            "audio_files": digest(_file_state(i.audio_path) for i in items)}


def fit_units(items: Sequence[manifest.Item], out_path: str | os.PathLike, k: int, seed: int, workers: int = 1,
              max_frames: int = FIT_FRAMES, overwrite: bool = False, progress: bool = False
              ) -> tuple[units.LogMelKMeans, int, list[Rejection]]:
    """Fits the embedded unit tokenizer to recordings drawn in random order until there are `max_frames` frames.

    Returns: the tokenizer (saved at `out_path`), the frames it saw, and the recordings that could not be read.
    """
    _refuse_existing(out_path, overwrite)
    if max_frames < k:
        raise DataError(f"max_frames={max_frames}: is less than k={k}; give more")
    order = np.random.default_rng(seed).permutation(len(items))
    chunks, rejected, frames = [], [], 0
    made = parallel.ordered_map(_features, (items[i] for i in order), workers)
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
    made.close()
    tokenizer = units.LogMelKMeans.fit(chunks, k, seed, progress=progress)
    tokenizer.save(out_path)
    return tokenizer, frames, rejected


def train_text_tokenizer(texts: Iterable[str], out_path: str | os.PathLike, size: int, overwrite: bool = False) -> None:
    """Trains a SentencePiece model of `size` pieces. Raises: DataError, StorageError."""
    _refuse_existing(out_path, overwrite)
    try:
        pathlib.Path(out_path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(out_path, error) from error
    text.train_tokenizer(texts, out_path, size)


def _documents(paths: Sequence[str | os.PathLike], where: Mapping[str, str]) -> Iterator[manifest.TextItem]:
    for path in paths:
        yield from manifest.iter_text(path, where)


def _make_text(item: manifest.TextItem) -> Made:
    if not item.text.strip():
        return Made(None, 0, 0, Rejection(item.id, "empty document", "its text is empty; leave it out"), ())
    return Made(records.encode(records.TextDocument(item.id, item.text)), 0, len(item.text.split()), None, ())


def _features(item: manifest.Item) -> np.ndarray | Rejection:
    try:
        return units.LogMelKMeans.features(audio.load_audio(item.audio_path))
    except RejectedItem as error:
        return Rejection(item.id, error.reason, str(error))


def _write(out: Directory, number: int, made: Iterable[Made]) -> Sidecar:
    made = list(made)
    guessed = collections.Counter(word for m in made for word in m.guessed)
    return out.write(number, [m.payload for m in made if m.payload is not None], sum(m.frames for m in made),
                     sum(m.words for m in made), [m.rejection for m in made if m.rejection], guessed)


def _ticking(values: Iterable[T], bar: tqdm.tqdm) -> Iterator[T]:
    for value in values:
        bar.update()
        yield value


def _file_state(path: pathlib.Path) -> str:
    """Size and time of change: enough to see that a file was replaced, without reading hours of audio."""
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"


def _refuse_existing(path: str | os.PathLike, overwrite: bool) -> None:
    if pathlib.Path(path).exists() and not overwrite:
        raise DataError(f"{path}: is there already; choose another name or pass --overwrite")
