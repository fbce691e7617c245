"""Ids that items of different parts share: found on a disk when all parts are there, in memory that does not grow with them.

Beside a part's records lies `parts/NAME.DIGEST.ids`: a hash of twelve bytes for each of its items, in their order. The
hashes of all parts are spread over files by their first byte, and each file is sorted by itself. This takes 16 bytes of
scratch for an item, and memory for one file.
"""

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from lst_jax.data import records, shards
from lst_jax.prepare import merging
from lst_jax.prepare.part_files import Known, PartFiles, hash_of, ids_name
from lst_jax.storage import objects

HASH = np.dtype([("first", "<u8"), ("rest", "<u4")])  # of `hash_of`
ENTRY = np.dtype([*HASH.descr, ("part", "<u4")])
SPLITS = 256
READ_FILES, READ_BYTES = 64, 1 << 26  # that are read at a time


@dataclasses.dataclass(frozen=True)
class Repeated:
    """How many items of each part have the id of an earlier item, and the first such part and id; "" where none has."""

    counts: dict[str, int]
    first_part: str
    first_id: str


def find(parts: PartFiles, order: Sequence[Known]) -> Repeated:
    """Compares the ids of all parts of a directory. A part without a file of ids, of an earlier version, is passed over.

    Args: `order` are the parts in the order of the input. Raises: StorageError; DataError where a part cannot be read.
    """
    counts, first = np.zeros(len(order), np.int64), None
    with objects.scratch_to_fill("ids") as folder:
        _spread(parts, order, folder)
        for path in sorted(folder.iterdir()):
            later = _later(np.fromfile(path, ENTRY))
            counts += np.bincount(later["part"], minlength=len(order))
            if len(later) and (first is None or later["part"].min() < first["part"]):
                first = later[later["part"].argmin()]
    found = {order[number].name: int(counts[number]) for number in np.flatnonzero(counts)}
    if first is None:
        return Repeated(found, "", "")
    name = order[first["part"]].name
    return Repeated(found, name, _id_of(parts, name, first))


def _spread(parts: PartFiles, order: Sequence[Known], folder: pathlib.Path) -> None:
    """Writes the entries of all parts to `SPLITS` files, by the highest byte of their hashes, in order."""
    sizes = objects.sizes(parts.folder)
    there = [
        (number, name) for number, known in enumerate(order) if (name := ids_name(known.name, known.digest)) in sizes
    ]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{number:03d}").open("wb")) for number in range(SPLITS)]
        for chosen in _groups(there, sizes):
            entries = _entries(chosen, objects.read_many([parts.folder / name for _, name in chosen]))
            split = (entries["first"] >> np.uint64(56)).astype(np.int64)
            entries = entries[np.argsort(split, kind="stable")]
            ends = np.cumsum(np.bincount(split, minlength=SPLITS))
            for file, start, end in zip(files, [0, *ends], ends, strict=False):
                file.write(entries[start:end].tobytes())


def _groups(there: Sequence[tuple[int, str]], sizes: dict[str, int]) -> Iterator[list[tuple[int, str]]]:
    """The files in order, as many at a time as memory may hold."""
    group, held = [], 0
    for number, name in there:
        if group and (len(group) == READ_FILES or held + sizes[name] > READ_BYTES):
            yield group
            group, held = [], 0
        group.append((number, name))
        held += sizes[name]
    if group:
        yield group


def _entries(chosen: Sequence[tuple[int, str]], contents: Sequence[bytes]) -> np.ndarray:
    """The hashes of several parts, each with the number of its part."""
    hashes = [np.frombuffer(content, HASH) for content in contents]
    entries = np.empty(sum(map(len, hashes)), ENTRY)
    for name in HASH.names or ():
        entries[name] = np.concatenate([one[name] for one in hashes])
    entries["part"] = np.repeat([number for number, _ in chosen], [len(one) for one in hashes])
    return entries


def _later(entries: np.ndarray) -> np.ndarray:
    """Those entries whose hash an earlier entry has.

    Example: hashes a, b, a, c, a -> the second and the third a
    """
    entries = entries[np.argsort(entries["first"], kind="stable")]
    same = entries["first"][1:] == entries["first"][:-1]
    candidates = np.zeros(len(entries), bool)
    candidates[1:] |= same
    candidates[:-1] |= same
    entries = entries[candidates]
    entries = entries[np.lexsort((entries["rest"], entries["first"]))]  # which keeps the order of equal ones
    before = entries[:-1]
    return entries[1:][(entries["first"][1:] == before["first"]) & (entries["rest"][1:] == before["rest"])]


def _id_of(parts: PartFiles, name: str, entry: np.void) -> str:
    """The id with this hash, among what was rejected of a part and its records; "" where the part has been moved."""
    part = parts.finished().get(name)
    if part is None:
        return ""
    sought = (entry["first"], entry["rest"])
    rejected = (one.id for one in parts.read(part)[1].rejected)
    with objects.scratch("part") as scratch:
        file = merging.at_hand(parts.folder / f"{part.name}.{part.digest}.array_record", pathlib.Path(scratch))
        every = itertools.chain(rejected, map(records.id_of, shards.read_payloads(file)))
        return next((one for one in every if np.frombuffer(hash_of(one), HASH)[0].item() == sought), "")
