"""Tars whose members belong together by their names, read where they lie.

Source: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar): a header of 512 bytes stands before the
content of each member, which is padded to such blocks. A plain tar is cut some bytes apart, at the next member that
begins a group: a header is told by a magic word and a checksum. A compressed tar is one part, and read through.
"""

import contextlib
import dataclasses
import hashlib
import io
import itertools
import pathlib
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from lst_jax.core.errors import DataError
from lst_jax.data import line_files
from lst_jax.prepare.corpora import ranges
from lst_jax.prepare.corpora.audio_place import AudioPlace, Content, Stretch
from lst_jax.prepare.corpora.line_parts import part_name
from lst_jax.prepare.corpora.protocol import InputFile, Part
from lst_jax.storage.place import Place

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
BLOCK = 512  # bytes of a header
MAGIC = (257, b"ustar")  # where it stands in a header
SEARCH_BYTES = 1 << 20  # of one read for a header
PASSED_BYTES = 1 << 20  # of one read of what is passed over
MEASURED = 16  # groups at the beginning of a tar, whose size is taken for that of all
LEAST_PART_BYTES = 1 << 20
WHAT = "a tar"
KeyOf = Callable[[str], str]


@dataclasses.dataclass(frozen=True)
class Member:
    """A file in a tar: where its header begins, and its content."""

    name: str
    header: int
    start: int
    size: int


class Tar:
    """A tar that is open. Compressed ones are read in the order of their members alone."""

    def __init__(self, place: Place, file: BinaryIO, size: int | None):
        """`size` is the file's; None where it is compressed."""
        self.place, self._file, self.size = place, file, size

    def members(self, start: int = 0) -> Iterator[Member]:
        """The regular files from the header at byte `start` on. Raises: DataError where the tar is cut or damaged."""
        with ranges.damage(self.place, WHAT):
            self._file.seek(start)
            tar = tarfile.TarFile(fileobj=self._file, mode="r")  # its own loop ends in silence at a damaged header
            info = tar.next()
        while info is not None:
            if info.isreg():
                member = Member(info.name, info.offset, info.offset_data, info.size)
                yield member
                self._check(member)
            with ranges.damage(self.place, WHAT):
                info = self._following(tar)

    def _check(self, member: Member) -> None:
        """Raises: DataError where a plain tar ends before its member does."""
        if self.size is not None and member.start + member.size > self.size:
            raise DataError(f"{self.place}: ends within {member.name}; copy the file again")

    def _following(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        self._file.seek(tar.offset)
        try:
            return tarfile.TarInfo.fromtarfile(tar)
        except tarfile.HeaderError as error:
            if type(error).__name__ in ("EOFHeaderError", "EmptyHeaderError"):  # its end, by zeros or without
                return None
            raise

    def content(self, member: Member) -> bytes:
        """What a member holds. Raises: DataError where the tar is cut."""
        with ranges.damage(self.place, WHAT):
            self._file.seek(member.start)
            found = self._file.read(member.size)
        if len(found) < member.size:
            raise DataError(f"{self.place}: ends within {member.name}; copy the file again")
        return found

    def sound(self, member: Member, with_content: bool = True) -> AudioPlace:
        """Where the audio of a member is: in the file of this machine, else its bytes, which one reading passes.

        Raises: DataError where the tar is cut.
        """
        if self.size is not None and isinstance(self.place, pathlib.Path):
            self._check(member)
            return Stretch(self.place, member.start, member.size, member.name)
        return Content(self.content(member) if with_content else b"", member.name)

    def group_from(self, position: int, key_of: KeyOf) -> int | None:
        """The first header at or behind a byte at which a group begins; None where there is none.

        The header that is found first may belong to a header before it, which has its long name, and its group may
        have begun before. So the group of the member behind it is passed over.
        """
        header = self._header_from(position)
        if header is None:
            return None
        found = itertools.islice(self.members(header), 1, None)
        first = next(found, None)
        return next((member.header for member in found if key_of(member.name) != key_of(first.name)), None)

    def _header_from(self, position: int) -> int | None:
        position += -position % BLOCK
        while position < (self.size or 0):
            with ranges.damage(self.place, WHAT):
                self._file.seek(position)
                block = self._file.read(SEARCH_BYTES)
            for start in range(0, len(block) - BLOCK + 1, BLOCK):
                if block.startswith(MAGIC[1], start + MAGIC[0]) and _is_header(block[start : start + BLOCK]):
                    return position + start
            position += SEARCH_BYTES
        return None


class _Forward(io.RawIOBase):
    """A stream that cannot seek, but for passing over what lies before a later position."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._position = stream, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase`; all of it, unless the stream ends."""
        found = self._stream.read(size)
        self._position += len(found)
        return found

    def tell(self) -> int:
        """Bytes that were read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Forward alone."""
        assert whence == io.SEEK_SET and offset >= self._position, (offset, whence, self._position)
        while self._position < offset and self.read(min(PASSED_BYTES, offset - self._position)):
            pass
        return self._position


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


@contextlib.contextmanager
def tar_at(place: Place) -> Iterator[Tar]:
    """A tar, open. Raises: DataError, StorageError."""
    with contextlib.ExitStack() as stack:
        with ranges.damage(place, WHAT):
            file = stack.enter_context(ranges.opened(place))
            if is_compressed(place):
                suffix = ".gz" if place.suffix.lower() == ".tgz" else place.suffix
                file = _Forward(stack.enter_context(line_files.decompressed(file, suffix, str(place))))
                size = None
            else:
                size = file.seek(0, 2)
        yield Tar(place, file, size)


def is_compressed(place: Place) -> bool:
    """Whether its name says so."""
    return place.suffix.lower() != ".tar"


def parts(file: InputFile, number: int, part_items: int, key_of: KeyOf) -> Iterator[Part]:
    """Parts of about `part_items` groups; `start` and `count` are bytes. Raises: DataError, StorageError."""
    digest = hashlib.sha256(f"{file.size} {file.version}".encode()).hexdigest()[:16]
    if is_compressed(file.place) or not file.size:  # that it is empty is for reading it to say
        yield Part(part_name(number, 0), file.place, digest, input_name=file.name, size=file.size)
        return
    with tar_at(file.place) as tar:
        index = start = 0
        step = max(LEAST_PART_BYTES, part_items * _bytes_of_a_group(tar, key_of))
        while start < tar.size:
            end = None
            with contextlib.suppress(DataError):  # what is damaged is for reading it to say
                end = tar.group_from(start + step, key_of)
            end = end or tar.size
            yield Part(part_name(number, index), file.place, digest, start, 0, end - start, (), file.name, end - start)
            index, start = index + 1, end


def _bytes_of_a_group(tar: Tar, key_of: KeyOf) -> int:
    """On average over the first ones."""
    keys, end = set(), 0
    with contextlib.suppress(DataError):
        for member in tar.members():
            if len(keys | {key_of(member.name)}) > MEASURED:
                break
            keys.add(key_of(member.name))
            end = member.start + member.size
    return end // max(1, len(keys))


def groups(tar: Tar, part: Part, key_of: KeyOf) -> Iterator[tuple[str, Iterator[Member]]]:
    """(key, members) of the groups of a part; the members of one must be used before the next. Raises: DataError."""
    end = part.start + part.count if part.count else None
    found = itertools.takewhile(lambda member: end is None or member.header < end, tar.members(part.start))
    return itertools.groupby(found, lambda member: key_of(member.name))
