"""Parts of one large JSON document: the elements of a list in it, or the members of an object, read one at a time.

The document is read as bytes, in blocks; one element is held at a time. A part begins at the byte of its first element.
"""

import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from lst_jax.core.errors import DataError, first_line
from lst_jax.data import line_files
from lst_jax.prepare.corpora import groups, line_parts
from lst_jax.prepare.corpora.protocol import InputFile, Part
from lst_jax.storage import objects
from lst_jax.storage.place import Place

T = TypeVar("T")
BLOCK = 1 << 20
LONGEST = 1 << 28  # bytes of one element
SPACE = re.compile(r"[ \t\r\n]*")
REST_OF_NUMBER = re.compile(r"[-+0-9.eE]*")  # the end of a block may have cut a number
MARK = line_files.BYTE_ORDER_MARK.decode("latin-1")
_DECODER = json.JSONDecoder()


def parts(
    file: InputFile,
    number: int,
    part_items: int,
    exact: bool,
    key: str | None,
    weigh: Callable[[Any], int] | None = None,
) -> Iterator[Part]:
    """Parts of the list or the object under `key` of a document, or of the document itself where it is None.

    `weigh` says how many items an element gives, one where it is None. `Part.first` and `count` are of elements, its
    entries the numbers of `groups.Group`. Raises: DataError.
    """
    with _opened(file.place) as source:
        stream = _Stream(source, file.place, 0)
        _enter(stream, key)
        found = enumerate(_elements(stream))
        things = (
            ((index, begin, len(text), hashlib.sha256(text.encode("latin-1")).digest()), weigh(value) if weigh else 1)
            for index, (begin, text, value) in found
        )
        for made, group in enumerate(groups.grouped(things, part_items, exact)):
            (first, start, *_), *_ = group.things
            size = sum(one[2] for one in group.things[bool(group.skip) :])
            digest = hashlib.sha256(repr((group.skip, group.take, group.things)).encode()).hexdigest()[:16]
            name, inside = line_parts.part_name(number, made), (str(group.skip), str(group.take))
            yield Part(name, file.place, digest, start, first, len(group.things), inside, file.name, size)


def items_of(part: Part, make: Callable[[str, str | None, Any], Iterator[T]]) -> Iterator[T]:
    """What `make(place for messages, name, value)` gives for each element; `name` is that of a member of an object.

    Raises: DataError where the document was changed or cannot be read.
    """
    skip, take = map(int, part.entries)
    return groups.chosen((item for element in _elements_of(part) for item in make(*element)), skip, take)


def _elements_of(part: Part) -> Iterator[tuple[str, str | None, Any]]:
    with _opened(part.place) as source:
        source.seek(part.start)
        stream = _Stream(source, part.place, part.start)
        for index, (_, text, _) in enumerate(itertools.islice(_elements(stream), part.count)):
            yield f"{part.place}: element {part.first + index + 1}", *_named(text)


def _opened(place: Place) -> BinaryIO:
    try:
        return line_files.decompressed(objects.open_to_read(place), place.suffix, str(place))
    except FileNotFoundError as error:
        raise DataError(f"{place}: no such file; correct the path") from error


class _Stream:
    """The text of a document from where it was read to, one character per byte."""

    def __init__(self, source: BinaryIO, place: Place, begin: int):
        self.source, self.place = source, place
        self.text, self.at, self.begin = "", 0, begin  # the byte of the document that `text` begins with
        self.mark = 0  # the text from here is kept

    def more(self) -> bool:
        """Reads on; False at the end. As much again as there is, so that a long element is not tried too often."""
        mark = min(self.mark, self.at)
        try:
            block = self.source.read(max(BLOCK, len(self.text) - mark))
        except (OSError, EOFError, zlib.error, *line_files.zstd_errors(self.place.suffix)) as error:
            raise DataError(f"{self.place}: cannot be read ({first_line(error)}); get the file again") from error
        self.begin, self.text, self.at, self.mark = (
            self.begin + mark,
            self.text[mark:] + block.decode("latin-1"),
            self.at - mark,
            0,
        )
        return bool(block)

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def take(self, character: str) -> None:
        """Passes over a character. Raises: DataError where there is another one."""
        if self.peek() != character:
            raise self.wrong(f"has {self.peek()!r} where {character!r} must be")
        self.at += 1

    def value(self) -> Any:
        """The next value. Raises: DataError."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                if REST_OF_NUMBER.match(self.text, end).end() < len(self.text) or not self.more():
                    break
            except ValueError as error:
                if len(self.text) - self.at > LONGEST or not self.more():
                    raise self.wrong(f"is no JSON value ({error})") from error
            except RecursionError as error:
                raise self.wrong("is nested too deeply") from error
        self.at = end
        return value

    def wrong(self, what: str) -> DataError:
        """The error for what stands here."""
        return DataError(f"{self.place}: byte {self.begin + self.at}: {what}; get the file again")


def _enter(stream: _Stream, key: str | None) -> None:
    """Goes to the first element of the list or object."""
    while len(stream.text) < len(MARK) and stream.more():
        pass
    stream.at = len(MARK) if stream.text.startswith(MARK) else 0
    if key is not None:
        stream.take("{")
        while True:
            name = stream.value()
            stream.take(":")
            if name == key:
                break
            stream.value()
            if stream.peek() != ",":
                raise DataError(f"{stream.place}: has no {key!r}; is it of this layout?")
            stream.take(",")
    if stream.peek() not in ("[", "{"):
        raise stream.wrong("is neither a list nor an object")
    stream.at += 1


def _elements(stream: _Stream) -> Iterator[tuple[int, str, Any]]:
    """(first byte, text, value) of each element up to the end of the list or object; a member's text has its name."""
    while stream.peek() not in ("]", "}"):
        stream.mark = stream.at
        value = stream.value()
        if isinstance(value, str) and stream.peek() == ":":
            stream.take(":")
            value = stream.value()
        text = stream.text[stream.mark : stream.at]
        yield stream.begin + stream.mark, text, value
        stream.mark = stream.at
        if stream.peek() == ",":
            stream.take(",")


def _named(text: str) -> tuple[str | None, Any]:
    """The name, where it is a member of an object, and the value, of an element's text."""
    content = text.encode("latin-1").decode("utf-8", "surrogateescape")  # a text with a wrong byte is refused later
    try:
        return None, json.loads(content)
    except ValueError:
        ((name, value),) = json.loads(f"{{{content}}}").items()
        return name, value
