"""Directories of many shards, and few files that may be open."""

import os
import pathlib
import subprocess
import sys

import pytest
from synthetic_data import texts, write_directory

from lst_jax.data import open_shards, shards

ROOT = pathlib.Path(__file__).parents[2]
READS = """
import random, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)
from lst_jax.core.errors import UserError
from lst_jax.data import shards
opened = [shards.RecordDirectory(sys.argv[2], "text") for _ in range(2)]  # together they must stay below the limit
first = [record.id for record in opened[0]]
order = random.Random(0).sample(range(len(first)), len(first))
assert [opened[1][i].id for i in order] == [first[i] for i in order] and len(set(first)) == len(first)
print(len(first))
keep, unread = [], shards.RecordDirectory(sys.argv[2], "text")
del opened
try:
    while True:
        keep.append(open("/dev/null"))
except OSError:
    pass
try:
    list(unread)
except UserError as error:
    keep.clear()
    print(error.exit_code, error)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """1,500 shards of one record."""
    folder = tmp_path_factory.mktemp("many")
    write_directory(folder, [[text] for text in texts(1500)], kind="text")
    return folder


def test_more_shards_than_files_that_may_be_open_are_read(many):
    done = subprocess.run(
        [sys.executable, "-c", READS, "200", str(many)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    count, refused = done.stdout.splitlines()
    assert count == "1500"
    assert refused.startswith("5 ") and "may have 200 files open; raise the limit (`ulimit -n`" in refused


def test_the_reader_that_was_used_the_longest_ago_is_closed(many):
    pool = open_shards.ReaderPool(lambda: 3)
    readers = open_shards.ShardReaders(pool=pool)
    names = [str(many / shard.name) for shard in shards.read_metadata(many).shards[:5]]
    for name in (*names[:3], names[0], names[3], names[4]):
        readers.read(name, 0, 1)
        assert len(pool) <= 3
    assert [path for _, path in pool._shards] == [names[0], names[3], names[4]]


def test_a_directory_that_nobody_uses_has_no_open_files(many):
    pool = open_shards.ReaderPool(lambda: 3)
    readers = open_shards.ShardReaders(pool=pool)
    readers.read(str(many / shards.read_metadata(many).shards[0].name), 0, 1)
    assert len(pool) == 1
    files = len(os.listdir("/proc/self/fd"))
    del readers
    assert len(pool) == 0 and len(os.listdir("/proc/self/fd")) == files - 1
