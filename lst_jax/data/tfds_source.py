"""TFDS datasets on disk as sources of records, without TensorFlow.

Datasets of both kinds that `lst export tfds` wrote can be read, and any prepared dataset with a feature "text" (C4,
LM1B, ...). They must be stored with random access: array_record or parquet. TFRecords must be converted first.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds

from lst_jax.core.errors import DataError
from lst_jax.core.hashing import file_sha256
from lst_jax.data import records, shards
from lst_jax.storage.place import BucketPath

METADATA_KEY = "lst_jax"  # key of our metadata, by split, in the dataset's own metadata.json
RANDOM_ACCESS = ("array_record", "parquet")
INFO_NAME = "dataset_info.json"


def utterance_features() -> tfds.features.FeaturesDict:
    """Features of utterance records. An unknown speaker or source is stored as an empty text."""
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "units": tfds.features.Tensor(shape=(None,), dtype=np.uint16),
            "words": tfds.features.Sequence(tfds.features.Text()),
            "starts": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "ends": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "speaker": tfds.features.Text(),
            "source": tfds.features.Text(),
        }
    )


def text_features() -> tfds.features.FeaturesDict:
    """Features of text records."""
    return tfds.features.FeaturesDict({"id": tfds.features.Text(), "text": tfds.features.Text()})


def to_example(record: records.Utterance | records.TextDocument) -> dict[str, Any]:
    """The record as a TFDS example. `from_example` is its inverse, but turns an empty speaker or source into None."""
    if isinstance(record, records.TextDocument):
        return {"id": record.id, "text": record.text}
    return {
        "id": record.id,
        "units": np.asarray(record.units, np.uint16),
        "words": [w.text for w in record.words],
        "starts": np.array([w.start_frame for w in record.words], np.int32),
        "ends": np.array([w.end_frame for w in record.words], np.int32),
        "speaker": record.speaker or "",
        "source": record.source or "",
    }


def from_example(kind: str, example: Mapping[str, Any], name: str) -> records.Utterance | records.TextDocument:
    """The record of a TFDS example. `name` is the id that a text without an id gets.

    Raises: DataError where text is not UTF-8.
    """
    try:
        if kind == "text":
            return records.TextDocument(example["id"].decode() if "id" in example else name, example["text"].decode())
        texts = [text.decode() for text in example["words"]]
        words = tuple(map(records.Word, texts, example["starts"].tolist(), example["ends"].tolist()))
        speaker, source = (example[key].decode() or None for key in ("speaker", "source"))
        return records.Utterance(example["id"].decode(), example["units"], words, speaker, source)
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text ({error.reason}); prepare the dataset again") from error


class TfdsDirectory(Sequence):
    """Random access to one split of a prepared TFDS dataset, with the interface of `RecordDirectory`.

    Example: TfdsDirectory("/data/lm1b/1.1.0", "text", "train") -> TextDocument("lm1b/train:0", "..."), ...
    """

    def __init__(self, path: str | os.PathLike, kind: str | None, split: str):
        """Opens `path`, the folder with `dataset_info.json`. For texts, `split` may be a part of a split: "train[:1%]".

        A `kind` of None is the one that our metadata name, and text where there are none.
        Raises: DataError naming the file and the fix.
        """
        self.path, self.split = pathlib.Path(path), split
        self._builder = _builder(self.path, split)
        info = self._builder.info
        ours = _our_metadata(info, split)
        self.kind = kind or ("text" if ours is None else shards.parse_metadata(ours, self.path).kind)
        self._check_features(info)
        self._name = info.name
        self._source = self._data_source()
        self.metadata = self._metadata(info)
        for shard in self.metadata.shards:
            self._check_file(shard)

    def __len__(self) -> int:
        """Number of records."""
        return len(self._source)

    def __getitem__(self, index: SupportsIndex) -> records.Utterance | records.TextDocument:
        """Record number `index` of the split. Raises: DataError naming dataset, split and record."""
        index = index.__index__()
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        try:
            return from_example(self.kind, self._source[index], f"{self._name}/{self.split}:{index}")
        except DataError as error:
            raise DataError(f"{self._where(index)}: {error}") from error
        except Exception as error:  # array_record, protobuf and TFDS each raise their own where a file has been damaged
            raise DataError(
                f"{self._where(index)}: cannot be read ({_line(error)}); copy or prepare the dataset again"
            ) from error

    def __iter__(self) -> Iterator[records.Utterance | records.TextDocument]:
        """All records in order."""
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        """Names dataset and split. Grain uses it as the key of its caches."""
        return f"TfdsDirectory({str(self.path)!r}, {self.kind!r}, {self.split!r})"

    def verify(self) -> None:
        """Reads every record, checks utterances, and compares files with their checksums where the dataset has them.

        Raises: DataError naming the first bad one.
        """
        shards.check_records(self, self._where)
        for shard in self.metadata.shards:
            if shard.sha256 and file_sha256(self.path / shard.name) != shard.sha256:
                raise DataError(
                    f"{self.path / shard.name}: its checksum is not the one in {shards.METADATA_NAME}; "
                    "copy or export the dataset again"
                )

    def _check_features(self, info: tfds.core.DatasetInfo) -> None:
        wanted = {"text"} if self.kind == "text" else set(utterance_features())
        found = set(info.features) if isinstance(info.features, tfds.features.FeaturesDict) else set()
        missing = sorted(wanted - found)
        if missing:
            raise DataError(
                f"{self.path / 'features.json'}: records of kind {self.kind!r} need the features "
                f"{', '.join(missing)}, which it lacks; give a dataset of that kind"
            )

    def _data_source(self) -> Sequence:
        with _split_errors(self.path, self.split):
            return self._builder.as_data_source(self.split)

    def _metadata(self, info: tfds.core.DatasetInfo) -> shards.Metadata:
        file, split = self.path / shards.METADATA_NAME, info.splits[self.split]
        ours = _our_metadata(info, self.split)
        if ours is not None:
            metadata = shards.parse_metadata(ours, file)
            if metadata.kind != self.kind or metadata.records != len(self._source):
                raise DataError(
                    f"{file}: says {metadata.records} records of kind {metadata.kind!r}, there are "
                    f"{len(self._source)} of {self.kind!r}; export the dataset again"
                )
            return metadata
        if self.kind != "text":
            raise DataError(
                f"{file}: has no {METADATA_KEY}.{self.split}, which says unit rate and codebook; make the "
                "dataset with `lst export tfds`, and name a whole split"
            )
        parts = [(pathlib.Path(part.filename), part.examples_in_shard) for part in split.file_instructions]
        missing = next((path for path, _ in parts if not path.is_file()), None)
        if missing is not None:
            raise DataError(f"{missing}: missing; copy or prepare the dataset again")
        infos = tuple(shards.ShardInfo(path.name, count, path.stat().st_size, "") for path, count in parts)
        return shards.Metadata(
            "text",
            shards.FORMAT_VERSION,
            len(self._source),
            0,
            0,
            None,
            None,
            None,
            None,
            None,
            f"{info.name} {info.version}",
            infos,
        )

    def _check_file(self, shard: shards.ShardInfo) -> None:
        file = self.path / shard.name
        size = file.stat().st_size if file.is_file() else None
        if size != shard.bytes:
            found = "is missing" if size is None else f"has {size} bytes, not {shard.bytes}"
            raise DataError(f"{file}: {found}; copy or prepare the dataset again")

    def _where(self, index: int) -> str:
        return f"{self.path}: split {self.split}: record {index}"


def files_of(path: pathlib.Path, split: str) -> dict[str, str]:
    """The files of a split or of a part of one, by name, with their SHA-256; "" where the dataset has no checksums.

    Needs the files that describe the dataset alone, not those of the split. Raises: DataError, as `TfdsDirectory`.
    """
    info = _builder(path, split).info
    with _split_errors(path, split):
        names = [pathlib.Path(part.filename).name for part in info.splits[split].file_instructions]
    ours = _our_metadata(info, split)
    known = {} if ours is None else {one.name: one.sha256 for one in shards.parse_metadata(ours, path).shards}
    return {name: known[name] if name in known else "" for name in names}


def no_dataset(file: pathlib.Path | BucketPath) -> DataError:
    """What is wrong with a folder without `dataset_info.json`, which is `file`."""
    return DataError(f"{file}: missing; give the folder of a prepared TFDS dataset: DATASET/[CONFIG/]VERSION")


def _builder(path: pathlib.Path, split: str) -> Any:
    """TFDS's own opener of the dataset. Raises: DataError where it has no such split, or no random access."""
    file = path / INFO_NAME
    if not file.is_file():
        raise no_dataset(file)
    try:
        builder = tfds.builder_from_directory(str(path))
        info = builder.info
        splits = sorted(info.splits)
    except Exception as error:  # TFDS raises whatever its parsers do
        raise DataError(f"{file}: TFDS cannot open it ({_line(error)}); prepare the dataset again") from error
    name = split.partition("[")[0]
    if name not in splits:
        raise DataError(f"{file}: has no split {name!r}; it has {', '.join(splits)}")
    if info.file_format is None or info.file_format.value not in RANDOM_ACCESS:
        found = info.file_format.value if info.file_format else "no format"
        raise DataError(
            f"{file}: is stored as {found}, which has no random access; convert it: "
            "tfds convert_format --to_file_format=array_record"
        )
    return builder


def _our_metadata(info: tfds.core.DatasetInfo, split: str) -> Any:
    """What `lst export tfds` wrote about a whole split; None where another program made the dataset."""
    ours = info.metadata[METADATA_KEY] if info.metadata and METADATA_KEY in info.metadata else {}
    return ours[split] if split in ours else None


@contextlib.contextmanager
def _split_errors(path: pathlib.Path, split: str) -> Iterator[None]:
    """Turns what TFDS raises about a bad slice or a missing file into one line."""
    try:
        yield
    except Exception as error:
        raise DataError(
            f"{path}: split {split!r} cannot be opened ({_line(error)}); correct the split, or copy the dataset again"
        ) from error


def _line(error: Exception) -> str:
    lines = str(error).strip().split("\n")
    return f"{type(error).__name__}: {lines[0]}".replace(";", ",")
