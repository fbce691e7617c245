"""A folder that replaces another one: on a disk, on a mount whose folders cannot be renamed, and in a bucket."""

import pytest

from lst_jax.storage import folders, objects
from lst_jax.storage.place import to_place


@pytest.fixture(params=["disk", "mount", "bucket"])
def place(request, tmp_path, monkeypatch):
    """A folder of each kind with the objects a and last."""
    if request.param == "mount":
        monkeypatch.setattr(folders, "on_mount", lambda place: True)
    found = tmp_path / "place"
    if request.param == "bucket":
        found = to_place(request.getfixturevalue("bucket")) / tmp_path.name / "place"
    for name in ("a", "last"):
        objects.write_text(found / name, "old")
    return found


def contents(place):
    return {name: objects.read_text(place / name) for name in objects.sizes(place)}


def test_the_old_folder_stays_until_the_new_one_is_whole(place):
    with pytest.raises(RuntimeError), folders.replaced_folder(place, "last") as out:
        objects.write_text(out / "b", "new")
        raise RuntimeError
    assert contents(place) == {"a": "old", "last": "old"}
    with folders.replaced_folder(place, "last") as out:
        objects.write_text(out / "last", "new")
        objects.write_text(out / "z" / "b", "new")
        assert contents(place) == {"a": "old", "last": "old"}
    assert contents(place) == {"last": "new", "z/b": "new"}
    assert objects.names(place.parent) == ["place"]


def test_files_of_this_machine_become_one_too(place):
    with folders.filled_here(place, "last") as out:
        (out / "z").mkdir()
        (out / "z" / "b").write_text("new")
        (out / "last").write_text("new")
    assert contents(place) == {"last": "new", "z/b": "new"}


def test_what_makes_a_folder_whole_is_removed_first_and_written_last(bucket, tmp_path, monkeypatch):
    place, seen = to_place(bucket) / tmp_path.name / "place", []
    for name in ("a", "last"):
        objects.write_text(place / name, "old")
    copy = objects.copy
    monkeypatch.setattr(
        objects, "copy", lambda source, target: (seen.append(objects.names(place)), copy(source, target))
    )
    with folders.replaced_folder(place, "last") as out:
        for name in ("last", "z"):
            objects.write_text(out / name, "new")
    assert seen == [[], ["z"]]
