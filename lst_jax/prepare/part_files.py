"""Parts of a directory in the making: any process writes any of them, in any order, at a place that all of them see.

    parts/00002-0000017.DIGEST.array_record       the records of a part
    parts/00002-0000017.DIGEST.ids                hashes of the ids of its items, see `same_ids`
    parts/00002-0000017.DIGEST.AUDIO.json         written after both: counts, checksum, what was rejected

DIGEST and AUDIO say what the part was made from, so that one listing tells which parts are finished.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from lst_jax.core.errors import DataError
from lst_jax.data import shards
from lst_jax.prepare.accounts import Account, Made, PartState, Tally
from lst_jax.prepare.corpora.protocol import Part
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FOLDER = "parts"
NO_AUDIO = "-"


class Entry(NamedTuple):
    """An item of a part: its id, the state of its recording (None where it has none), and what became of it."""

    id: str
    audio_state: str | None
    made: Made


class Known(NamedTuple):
    """What the names of a part's files say of it."""

    name: str
    digest: str
    audio_files: str


@dataclasses.dataclass(frozen=True)
class PartFiles:
    """The parts of the directory at `path`. It pickles as two words, for workers anywhere."""

    path: Place
    input_hash: str  # of the settings of the directory

    @property
    def folder(self) -> Place:
        """Where they lie until the directory is closed."""
        return self.path / FOLDER

    def write(self, part: Part, entries: Iterable[Entry], repeated: Callable[[str], DataError]) -> PartState:
        """Writes the records of a part, its ids, then its sidecar. Memory holds what was rejected, and hashes of ids.

        Raises: StorageError; what `repeated` makes of an id that is there twice.
        """
        tally, audio, ids, hashes = Tally(), AudioStates(), set(), bytearray()
        with self.new_file(self.folder, f"{part.name}.{part.digest}.array_record") as file:
            for entry in entries:
                if hash(entry.id) in ids:
                    raise repeated(entry.id)
                ids.add(hash(entry.id))
                hashes += hash_of(entry.id)
                audio.add(entry.audio_state)
                tally.add(entry.made)
                if entry.made.payload is not None:
                    file.write(entry.made.payload)
        objects.write_bytes(self.folder / ids_name(part.name, part.digest), bytes(hashes))
        info = file.info()
        state = PartState(part.name, part.digest, audio.digest(), tally.items, tally.records, info.bytes, info.sha256)
        mapping = {"input_hash": self.input_hash, "part": dataclasses.asdict(state)}
        account = dataclasses.asdict(tally.account())
        objects.write_json(self.folder / state.sidecar_name, {**mapping, **account})
        return state

    def read(self, known: Known) -> tuple[PartState, Account]:
        """What a finished part's sidecar says. Raises: OSError, ValueError, TypeError, KeyError where it is not whole."""
        return self.parsed(objects.read_bytes(self.folder / sidecar_name(known)))

    def parsed(self, content: bytes) -> tuple[PartState, Account]:
        """What a sidecar of a part holds. Raises: as `read`."""
        mapping = json.loads(content)
        if mapping.pop("input_hash") != self.input_hash:
            raise ValueError("of other settings")
        return PartState(**mapping.pop("part")), Account.parsed(mapping)

    def finished(self) -> dict[str, Known]:
        """The parts whose files are both there, by name, from one listing."""
        names = set(objects.names(self.folder))
        found = {}
        for name in sorted(names):
            words = name.split(".")
            if len(words) == 4 and words[3] == "json" and f"{words[0]}.{words[1]}.array_record" in names:
                found[words[0]] = Known(*words[:3])
        return found

    @contextlib.contextmanager
    def new_file(self, folder: Place, name: str) -> Iterator[shards.OpenShard]:
        """A shard to be filled, which is there once it is whole; one in a bucket is made on this machine first."""
        if isinstance(folder, pathlib.Path):
            with shards.open_shard(folder / name) as file:
                yield file
            return
        with objects.scratch("shard") as scratch:
            with shards.open_shard(pathlib.Path(scratch) / name) as file:
                yield file
            objects.upload(pathlib.Path(scratch) / name, folder / name)


class AudioStates:
    """A digest over the states of the recordings of a part, in order."""

    def __init__(self) -> None:
        """None yet."""
        self._digest, self._any = hashlib.sha256(), False

    def add(self, state: str | None) -> None:
        """Counts one; None for an item without a recording."""
        if state is not None:
            self._any = True
            self._digest.update(f"{len(state)}:{state}".encode())

    def digest(self) -> str:
        """Sixteen hex digits, or NO_AUDIO where there were none."""
        return self._digest.hexdigest()[:16] if self._any else NO_AUDIO


def hash_of(item_id: str) -> bytes:
    """Twelve bytes that are the same in every process: of 4 billion ids, two share them once in 10^10 corpora."""
    return hashlib.blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def ids_name(name: str, digest: str) -> str:
    """Example: "00002-0000017.DIGEST.ids"."""
    return f"{name}.{digest}.ids"


def sidecar_name(known: Known) -> str:
    """Example: "00002-0000017.DIGEST.AUDIO.json"."""
    return ".".join([*known, "json"])
