"""Small corpora in the layouts of others, made of bundled prompts, and their items as a command reads them."""

import io
import json
import pathlib
import pickle
import tarfile

import pyarrow
import pyarrow.parquet

from lst_jax.prepare.corpora.protocol import Reader
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

ASTERISK = pathlib.Path(__file__).parents[2] / "corpora" / "asterisk"


def prompts(count: int) -> list[dict]:
    """The first `count` lines of the bundled manifest, with the content of each recording as `content`."""
    lines = (ASTERISK / "manifest.jsonl").read_text().splitlines()[:count]
    found = [json.loads(line) for line in lines]
    return [one | {"content": (ASTERISK / one["audio"]).read_bytes()} for one in found]


def write_parquet(path: pathlib.Path, rows: list[dict], group_rows: int = 2, schema=None) -> pathlib.Path:
    """A table of the rows, `group_rows` in each row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), path, row_group_size=group_rows)
    return path


def write_tar(path: pathlib.Path, members: dict[str, bytes], mode: str = "w", form: int = tarfile.USTAR_FORMAT):
    """A tar of the members in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def parts_of(reader: Reader, place, part_items: int):
    """All parts of a place; their names differ and sort."""
    found = [part for n, file in enumerate(reader.files(to_place(place))) for part in reader.parts(file, n, part_items)]
    names = [part.name for part in found]
    assert names == sorted(set(names))
    return found


def items_of(reader: Reader, place, part_items: int = 2) -> list:
    """The items of all parts, each read as by another machine: by the pickled reader, of the pickled part."""
    assert isinstance(reader, Reader)
    found = []
    for part in parts_of(reader, place, part_items):
        other, copied = pickle.loads(pickle.dumps((reader, part)))
        found += other.read(copied)
    return found


def in_bucket(bucket: str, folder: pathlib.Path) -> str:
    """A copy of a folder in the bucket; its address."""
    address = f"{bucket}/{folder.parent.name}-{folder.name}"
    objects.upload(folder, to_place(address))
    return address
