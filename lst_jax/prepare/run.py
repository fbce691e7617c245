"""`lst prepare speech` and `text`: a corpus to shards, in parallel, resumable part by part, with an account of what was left out.

Memory does not grow with the corpus: parts are found, made and merged one after the other.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import tqdm

from lst_jax.prepare import manifest
from lst_jax.prepare.accounts import Report
from lst_jax.prepare.aligners.protocol import Aligner, LengthAligner
from lst_jax.prepare.corpora import listed
from lst_jax.prepare.corpora.corpus import PART_ITEMS, Corpus
from lst_jax.prepare.corpora.protocol import Part
from lst_jax.prepare.directory import Directory
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.engines.protocol import Engine, Work, audio_state
from lst_jax.prepare.makers import Maker, SpeechMaker, TextMaker
from lst_jax.prepare.merging import SHARD_MB, Size
from lst_jax.prepare.part_files import AudioStates
from lst_jax.prepare.speech_tokenizers.registry import loader
from lst_jax.storage.place import in_bucket

MAX_REJECTED = 0.5  # above this share something is wrong with the input as a whole
LOCAL = Local()


def prepare_speech(
    corpus: Corpus | Sequence[manifest.Item | manifest.BadItem],
    out_dir: str | os.PathLike,
    unit_tokenizer_path: str | os.PathLike,
    aligner: Aligner,
    engine: Engine = LOCAL,
    shard_records: int | None = None,
    source: str | None = None,
    overwrite: bool = False,
    max_rejected: float = MAX_REJECTED,
    progress: bool = False,
    channel: str | None = None,
    shard_mb: float = SHARD_MB,
) -> Report:
    """Makes a directory of utterance records; a directory begun with the same input is finished.

    The result does not depend on `engine` nor on interruptions. A shard has at least `shard_mb` megabytes, or else
    `shard_records` items. `channel` is used of recordings that have several, where an item does not say which.
    Raises: DataError where the directory holds another input, nothing could be prepared, or more than the share
    `max_rejected` was rejected; StorageError where writing fails.
    """
    if not isinstance(corpus, Corpus):
        corpus = listed.corpus_of(corpus, "speech")
    ids = corpus.checked_ids() if corpus.is_small else None
    if ids is not None and isinstance(aligner, LengthAligner):
        aligner = aligner.for_items(ids)
    maker = SpeechMaker(loader(unit_tokenizer_path), aligner, source, channel)
    tokenizer = maker.unit_tokenizer
    identity = {
        "kind": "utterance",
        "units": tokenizer.fingerprint,
        "aligner": aligner.name,
        "source": source,
        **({} if channel is None else {"channel": channel}),
        "transcripts": corpus.names(),
        **corpus.choices(),
    }
    out = Directory(out_dir, identity, Size(shard_mb, shard_records), overwrite, "transcripts")
    make(corpus, out, maker, engine, progress)
    return out.close(
        max_rejected,
        corpus.empty,
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
    shard_records: int | None = None,
    overwrite: bool = False,
    max_rejected: float = MAX_REJECTED,
    progress: bool = False,
    shard_mb: float = SHARD_MB,
) -> Report:
    """Makes a directory of text records. Raises: as `prepare_speech`."""
    if corpus.is_small:
        corpus.checked_ids()
    identity = {"kind": "text", "documents": corpus.names(), **corpus.choices()}
    out = Directory(out_dir, identity, Size(shard_mb, shard_records), overwrite, "documents")
    make(corpus, out, TextMaker(), engine, progress)
    return out.close(
        max_rejected,
        corpus.empty,
        kind="text",
        unit_rate=None,
        codebook_size=None,
        codebook_fingerprint=None,
        tokenizer_fingerprint=None,
        aligner=None,
    )


def make(corpus: Corpus, out: Directory, maker: Maker, engine: Engine, progress: bool) -> None:
    """Makes what is missing of all parts of a directory, and merges them. Raises: DataError, StorageError."""
    if out.size.records is not None:
        corpus = corpus.in_exact_parts()
    work = Work(out.parts, maker, corpus.readers)
    with _Bar(corpus, f"prepare {out.path.name}", progress) as bar:
        engine.make_parts(work, _missing(corpus, out, bar), bar.tick)
    out.check_order()
    groups = out.to_merge(compare_ids=not corpus.is_small)
    with tqdm.tqdm(total=len(groups), desc="shards", unit="shard", disable=not progress or len(groups) < 2) as shards:
        engine.merge(work, groups, lambda count, _: shards.update(count))


def _missing(corpus: Corpus, out: Directory, bar: "_Bar") -> Iterator[Part]:
    """The parts that are to be made, in order. Others are compared with what the directory says of them.

    Recordings are looked at where corpus and recordings are files of this machine; elsewhere each look is a request.
    """
    for part in corpus.parts(out.size.records or PART_ITEMS):
        known = out.finished(part)
        if known is None:
            yield part
            continue
        if corpus.kind == "speech" and not in_bucket(part.place):
            states = AudioStates()
            for item in corpus.readers.read(part):
                states.add(audio_state(item))
            out.check_audio(part, known, states.digest())
        bar.tick(0, part.size)


class _Bar:
    """Progress in bytes of the input, with the number of items that were made beside it."""

    def __init__(self, corpus: Corpus, name: str, show: bool):
        unit = {"unit": "item"} if corpus.is_in_memory else {"unit": "B", "unit_scale": True}
        self._items, self._what = 0, "utterances" if corpus.kind == "speech" else "documents"
        self._bar = tqdm.tqdm(total=corpus.input_bytes, desc=name, disable=not show, **unit)

    def tick(self, items: int, size: int) -> None:
        """Counts items that are done, and bytes of the input."""
        self._items += items
        if items:
            self._bar.set_postfix_str(f"{self._items} {self._what}", refresh=False)
        self._bar.update(size)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()
