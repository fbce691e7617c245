"""Loaded by Python itself where PYTHONPATH has this folder: opening an object of a bucket to add to it is an error."""

import fsspec.spec


def refusing(self, path, mode="rb", *words, opened=fsspec.spec.AbstractFileSystem.open, **options):
    """`open`, but for appending: on a bucket it would replace the object."""
    if "a" in mode and self.protocol not in ("file", ("file", "local")):
        raise AssertionError(f"{path}: was opened to add to it")
    return opened(self, path, mode, *words, **options)


fsspec.spec.AbstractFileSystem.open = refusing
