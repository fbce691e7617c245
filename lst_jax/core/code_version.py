"""Names the version of this program, for the files that it writes."""

import functools
import hashlib
import pathlib
import subprocess


@functools.cache
def code_commit() -> str | None:
    """The commit of the source tree, with "+changes" where it differs from it; None outside a checkout."""
    here = pathlib.Path(__file__).parents[1]
    try:
        commit = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run(["git", "-C", here, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


@functools.cache
def code_digest() -> str:
    """Sixteen hex digits of this package's source as it is installed here."""
    here, digest = pathlib.Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        digest.update(str(path.relative_to(here)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
