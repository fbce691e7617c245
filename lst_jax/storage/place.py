"""What a user gives as a path: a file or folder of this machine, or an object or prefix of a bucket.

A place of this machine is a `pathlib.Path`. A place of a bucket is a `BucketPath`, which joins names in the same way and
cannot be opened as a file: what opens places are the functions of `lst_jax.storage.objects`.
"""

import dataclasses
import os
import pathlib
import re
import urllib.parse

from lst_jax.core.errors import ConfigError
from lst_jax.core.paths import check_writable_place, is_address

RUN_SCHEMES = ("gs",)  # Orbax reads and writes no other
ONE_SLASH = re.compile(r"(gs|s3|https?):/", re.IGNORECASE)
WEB_SCHEMES = ("http", "https")
FILE_SCHEMES = ("file", "local")
MOUNTS = pathlib.Path("/proc/self/mounts")
WHOLE_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.sshfs", "fuse.lxcfs"})  # they rename folders as a disk does


@dataclasses.dataclass(frozen=True)
class BucketPath:
    """An address such as gs://bucket/folder, without a slash at its end.

    Example: BucketPath("gs://b/run") / "checkpoints" -> BucketPath("gs://b/run/checkpoints")
    """

    address: str

    def __post_init__(self) -> None:
        assert is_address(self.address) and not self.address.endswith("/"), self.address

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str | os.PathLike) -> "BucketPath":
        return BucketPath(f"{self.address}/{os.fspath(name).strip('/')}")

    @property
    def scheme(self) -> str:
        """Example: "gs"."""
        return self.address.partition("://")[0].lower()

    @property
    def key(self) -> str:
        """What fsspec calls it. Example: "bucket/folder"; of https:// it is the whole address."""
        return self.address if self.scheme in WEB_SCHEMES else self.address.partition("://")[2]

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket and the names below it."""
        return tuple(self.address.partition("://")[2].split("/"))

    @property
    def name(self) -> str:
        """The last name. Example: gs://b/run -> "run"."""
        return self.parts[-1]

    @property
    def suffix(self) -> str:
        """Example: gs://b/units.safetensors -> ".safetensors"."""
        return pathlib.PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "BucketPath":
        """Without the last name; a bucket is its own parent."""
        return self if len(self.parts) == 1 else BucketPath(self.address.rpartition("/")[0])

    def with_name(self, name: str) -> "BucketPath":
        """Beside it. Example: gs://b/run -> gs://b/other."""
        return self.parent / name


Place = pathlib.Path | BucketPath


def to_place(path: str | os.PathLike | BucketPath) -> Place:
    """The place that a user names.

    Example: "runs/1b" -> Path("runs/1b"); "gs://b/run/" -> BucketPath("gs://b/run"); "file:///a" -> Path("/a")
    Raises: ConfigError for an address without a bucket, one that has been through pathlib (`gs:/b`), or file://HOST/PATH.
    """
    if isinstance(path, (BucketPath, pathlib.Path)):
        return path
    text = os.fspath(path)
    if not is_address(text):
        if cut := ONE_SLASH.match(text):
            raise ConfigError(
                f"{text}: is an address with one slash, which would be a folder of this machine; write it as "
                f"{cut[1]}://{text[cut.end() :]}"
            )
        return pathlib.Path(text)
    scheme, _, key = text.partition("://")
    if scheme.lower() in FILE_SCHEMES:
        if not key.startswith("/"):
            raise ConfigError(f"{text}: names no file of this machine; write {scheme}:///FOLDER, with three slashes")
        return pathlib.Path(urllib.parse.unquote(key))
    names = [name for name in key.split("/") if name]
    if not names or any(name in (".", "..") for name in names):
        raise ConfigError(f"{text}: names no place in a bucket; write it as {scheme}://BUCKET/FOLDER")
    return BucketPath(f"{scheme.lower()}://{'/'.join(names)}")


def to_run_place(path: str | os.PathLike | BucketPath) -> Place:
    """The place of a run: of this machine, or of a bucket that Orbax can write. Raises: ConfigError."""
    place = to_place(path)
    if isinstance(place, BucketPath) and place.scheme not in RUN_SCHEMES:
        raise ConfigError(
            f"{place}: runs and checkpoints lie on this machine or in gs://, as Orbax has no {place.scheme}://; "
            "give gs://BUCKET/RUN or a folder of this machine"
        )
    if isinstance(place, pathlib.Path):
        check_writable_place(place)
    return place


def in_bucket(place: Place) -> bool:
    """Whether the place is one of a bucket."""
    return isinstance(place, BucketPath)


def on_mount(place: Place) -> bool:
    """Whether the place lies on a mount whose folders cannot be renamed at once, as one of a bucket by gcsfuse.

    NFS and disks rename folders; FUSE file systems, but for those in `WHOLE_FUSE`, are held not to.
    """
    return isinstance(place, pathlib.Path) and _is_mount(_file_system_of(place))


def _is_mount(kind: str) -> bool:
    return (kind == "fuse" or kind.startswith("fuse.")) and kind not in WHOLE_FUSE


def _file_system_of(path: pathlib.Path) -> str:
    """The kind of file system of the nearest folder that exists. Example: "ext4"; "" where the system does not say."""
    try:
        where = path.absolute().resolve()
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except (OSError, RuntimeError):
        return ""
    found = [(_unescaped(mount), kind) for _, mount, kind, *_ in (line.split(" ") for line in lines)]
    inside = [
        (len(mount.parts), number, kind) for number, (mount, kind) in enumerate(found) if where.is_relative_to(mount)
    ]
    return max(inside)[2] if inside else ""  # of two at one folder, the later one is on top


def _unescaped(mount: str) -> pathlib.Path:
    """The kernel writes a space of a name as four characters."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        mount = mount.replace(code, character)
    return pathlib.Path(mount)
