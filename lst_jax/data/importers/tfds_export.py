"""Directories of records as TFDS datasets, written without TensorFlow.

`OUT/lst_utterance/1.0.0` (or `OUT/lst_text/1.0.0`) is read by `tfds.data_source("lst_utterance", ..., data_dir=OUT)`,
`tfds.builder_from_directory`, and `lst_jax.data.tfds_source.TfdsDirectory`. Records keep their order.

The writer is TFDS's SequentialWriter: a GeneratorBasedBuilder of an installed package needs `importlib_resources` (TFDS
4.9.10 imports it undeclared), and it orders examples by a hash.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import tensorflow_datasets as tfds
import tqdm

from lst_jax.core import files
from lst_jax.core.errors import DataError
from lst_jax.core.hashing import file_sha256
from lst_jax.data import shards
from lst_jax.data.tfds_source import METADATA_KEY, text_features, to_example, utterance_features
from lst_jax.storage import folders, objects
from lst_jax.storage.place import Place, to_place

VERSION = "1.0.0"
SHARD_RECORDS = 10_000
_FEATURES = {"utterance": utterance_features, "text": text_features}


def write_tfds(
    splits: Mapping[str, shards.RecordDirectory],
    out: str | os.PathLike | Place,
    overwrite: bool = False,
    shard_records: int = SHARD_RECORDS,
    progress: bool = False,
) -> Place:
    """Writes the directories as the splits of one dataset under `out`; complete or absent.

    Returns: the dataset's folder.
    Raises: DataError where kinds or units differ between splits, or it is there already; StorageError.
    """
    kind = _common_kind(splits)
    name = f"lst_{kind}"
    target = to_place(out) / name / VERSION
    if objects.exists(target) and not overwrite:
        raise DataError(f"{target}: is there already; choose another place or pass --overwrite")
    with folders.filled_here(target, shards.METADATA_NAME) as folder:
        with shards.array_record_errors():
            info = _write(splits, folder, name, _FEATURES[kind](), shard_records, progress)
        files.write_json(
            folder / shards.METADATA_NAME,
            {
                METADATA_KEY: {
                    split: dataclasses.asdict(dataclasses.replace(directory.metadata, shards=_shards(info, split)))
                    for split, directory in splits.items()
                }
            },
        )
    return target


def _write(
    splits: Mapping[str, shards.RecordDirectory],
    folder: pathlib.Path,
    name: str,
    features: tfds.features.FeaturesDict,
    shard_records: int,
    progress: bool,
) -> tfds.core.DatasetInfo:
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=name, version=tfds.core.Version(VERSION), data_dir=str(folder), module_name=""
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, disable_shuffling=True)
    writer = tfds.core.SequentialWriter(info, shard_records, file_format="array_record")
    writer.initialize_splits(list(splits))
    for split, directory in splits.items():
        for record in tqdm.tqdm(directory, desc=f"export {split}", unit="record", disable=not progress):
            writer.add_examples({split: [to_example(record)]})
    writer.close_all()
    return info


def _common_kind(splits: Mapping[str, shards.RecordDirectory]) -> str:
    if not splits:
        raise DataError("export tfds: has no splits; give SPLIT=DIR")
    first = next(iter(splits))
    for split, directory in splits.items():
        if not len(directory):
            raise DataError(f"{directory.path}: has no records; leave the split {split!r} out")
        for key in ("kind", "unit_rate", "codebook_size", "codebook_fingerprint"):
            ours, theirs = getattr(directory.metadata, key), getattr(splits[first].metadata, key)
            if ours != theirs:
                raise DataError(
                    f"{directory.path}: has {key}={ours}, split {first!r} has {theirs}; splits of one "
                    "dataset must agree"
                )
    return splits[first].kind


def _shards(info: tfds.core.DatasetInfo, split: str) -> tuple[shards.ShardInfo, ...]:
    infos = []
    for part in info.splits[split].file_instructions:
        path = pathlib.Path(part.filename)
        infos.append(shards.ShardInfo(path.name, part.examples_in_shard, path.stat().st_size, file_sha256(path)))
    return tuple(infos)
