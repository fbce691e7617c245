"""Trees are walked folder by folder, in one order on this machine and in a bucket."""

import pytest

from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import to_place
from lst_jax.storage.walk import walk

FILES = ("b.txt", "a/z.txt", "a/b/1.txt", "a/b/2.txt", "a-b/1.txt", "c/d/e.txt")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "empty").mkdir()
    return root


def test_the_order_is_the_same_everywhere(tree, bucket, tmp_path):
    there = to_place(f"{bucket}/{tmp_path.name}/walk")
    objects.upload(tree, there)
    for root in (tree, there):
        found = [(folder, [(one.path, one.size) for one in inside]) for folder, inside in walk(root)]
        assert found == [
            ("", [("b.txt", 5)]),
            ("a", [("a/z.txt", 7)]),
            ("a/b", [("a/b/1.txt", 9), ("a/b/2.txt", 9)]),
            ("a-b", [("a-b/1.txt", 9)]),
            ("c/d", [("c/d/e.txt", 9)]),
        ]
        assert all(one.version and one.name == one.path.split("/")[-1] for _, inside in walk(root) for one in inside)


def test_a_link_to_a_folder_is_followed_but_never_in_a_circle(tree, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("x")
    (tree / "link").symlink_to(tmp_path / "other")
    (tree / "a" / "up").symlink_to(tree)
    assert [folder for folder, _ in walk(tree)] == ["", "a", "a/b", "a-b", "c/d", "link"]


def test_a_version_changes_with_the_file(tree):
    before = {one.path: one.version for _, inside in walk(tree) for one in inside}
    (tree / "b.txt").write_text("b.tx2")
    after = {one.path: one.version for _, inside in walk(tree) for one in inside}
    assert [path for path in before if before[path] != after[path]] == ["b.txt"]


def test_a_place_that_cannot_be_listed_is_an_error_of_one_line(tree):
    with pytest.raises(DataError, match="b.txt: cannot be listed"):
        list(walk(tree / "b.txt"))
