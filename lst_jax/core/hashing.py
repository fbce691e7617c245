"""SHA-256 of files."""

import hashlib
import os


def file_sha256(path: str | os.PathLike) -> str:
    """The 64 hex digits of a file's SHA-256, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
