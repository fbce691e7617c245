"""Copies on this machine for libraries that open files: made once, by their names, and gone with the command."""

import os
import pathlib
import subprocess
import sys
import types

import pytest

from lst_jax.core.errors import DataError, StorageError
from lst_jax.storage import at_hand as copies
from lst_jax.storage import objects
from lst_jax.storage.at_hand import as_given, at_hand, remove_copies
from lst_jax.storage.place import to_place


@pytest.fixture
def there(bucket, tmp_path):
    """A folder of a bucket with the objects a and b/c."""
    place = to_place(f"{bucket}/{tmp_path.name}")
    for name in ("a", "b/c"):
        objects.write_text(place / name, name)
    yield place
    remove_copies()


def test_a_path_of_this_machine_is_its_own(tmp_path):
    assert at_hand(str(tmp_path)) == tmp_path and copies.VARIABLE not in os.environ


def test_copies_are_made_once_and_removed(there):
    file, folder = at_hand(there / "a"), at_hand(str(there))
    assert file.read_text() == "a" and (folder / "b" / "c").read_text() == "b/c"
    objects.write_text(there / "a", "new")
    assert at_hand(there / "a") == file and file.read_text() == "a"
    assert at_hand(there / "b" / "c").name == "c"
    remove_copies()
    assert not file.exists() and copies.VARIABLE not in os.environ
    assert at_hand(there / "a").read_text() == "new"


def test_a_process_that_is_started_finds_them_and_leaves_them(there):
    file = at_hand(there / "a")
    objects.write_text(there / "a", "new")
    code = "import sys\nfrom lst_jax.storage.at_hand import *\nprint(at_hand(sys.argv[1]))\nremove_copies()"
    root = pathlib.Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", code, str(there / "a")], cwd=root, capture_output=True, text=True)
    assert said.stdout.strip() == str(file) and file.read_text() == "a"


def test_messages_say_addresses(there):
    file, folder = at_hand(there / "a"), at_hand(there)
    assert as_given(f"{file}: line 1; {folder / 'b' / 'c'}; {file.with_name('x')}; /tmp/y") == (
        f"{there}/a: line 1; {there}/b/c; {there}/x; /tmp/y"
    )


def test_what_is_not_there_or_has_no_room_is_said(there, monkeypatch, capsys):
    with pytest.raises(DataError, match=f"{there}/no: no such object"):
        at_hand(there / "no")
    monkeypatch.setattr(copies, "LARGE", 1)
    at_hand(there / "a")
    assert f"lst: copying {there}/a (0.0 GiB) to this machine" in capsys.readouterr().err
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=0))
    with pytest.raises(StorageError, match="b/c: a copy on this machine needs .*set TMPDIR to a larger disk"):
        at_hand(there / "b" / "c")
