"""TFDS datasets at addresses: the files of a split are copied to this host, as TFDS's readers open files of a disk.

The copy holds the files that describe the dataset, and the shards of the splits that were asked for. It is kept for later
starts, as `remote` keeps directories of records.
"""

import json
import pathlib
import re
from collections.abc import Mapping

from lst_jax.core.errors import DataError
from lst_jax.data import remote, shards, tfds_source
from lst_jax.storage import objects
from lst_jax.storage.place import BucketPath

SHARD = re.compile(r"\.(array_record|parquet|riegeli|tfrecord)|-\d{5}(-of-\d{5})?(\.|$)")  # in the names of all shards
PART_INSTEAD = "name a part of the split, such as train[:1%]"
Listing = Mapping[str, tuple[int, str]]  # bytes and version by name


def local_copy(place: BucketPath, split: str) -> pathlib.Path:
    """The folder of this host with a copy of what `split` needs of the dataset at `place`, which is made if needed.

    Args: `place` is the folder with `dataset_info.json`; `split` may be a part of one, such as "train[:1%]".
    Its name holds a digest of the address and of all names, sizes and versions there: a changed dataset is copied anew.
    Of several processes one copies, and the others wait for it.

    Raises: DataError where a file is missing or cannot be read; StorageError where there is no room.
    """
    listed = _listed(place)
    name = "-".join(place.parts[-2:])
    folder = remote.folder_of(place, name, json.dumps(sorted(listed.items())).encode())
    described = [shards.ShardInfo(name, 0, size, "") for name, (size, _) in listed.items() if not SHARD.search(name)]
    remote.bring(place, folder, described, "the listing of the folder", PART_INSTEAD)
    try:
        checksums = tfds_source.files_of(folder, split)
    except DataError as error:  # names the copy
        raise DataError(f"{place}: {error}") from error
    missing = next((name for name in checksums if name not in listed), None)
    if missing is not None:
        raise DataError(f"{place / missing}: missing, {tfds_source.INFO_NAME} lists it; copy the dataset there again")
    wanted = [shards.ShardInfo(name, 0, listed[name][0], sha256) for name, sha256 in checksums.items()]
    remote.bring(place, folder, wanted, tfds_source.INFO_NAME, PART_INSTEAD)
    return folder


def _listed(place: BucketPath) -> Listing:
    """The files right in the folder. Raises: DataError where there is no dataset."""
    try:
        found = objects.listing(place)
    except FileNotFoundError:
        found = {}
    listed = {name: state for name, state in found.items() if "/" not in name}
    if tfds_source.INFO_NAME not in listed:
        raise tfds_source.no_dataset(place / tfds_source.INFO_NAME)
    return listed
