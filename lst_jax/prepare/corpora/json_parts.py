"""Parts of one large JSON document: the elements of a list in it, or the members of an object, read one at a time.

The document is read as bytes, in blocks; one element is held at a time. A part begins at the byte of its first element.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from lst_jax.core.errors import DataError
from lst_jax.data.line_files import BYTE_ORDER_MARK
from lst_jax.prepare.corpora.line_parts import opened
from lst_jax.prepare.corpora.protocol import InputFile, Part
from lst_jax.storage.place import Place

BLOCK = 1 << 20
LONGEST = 1 << 28  # bytes of one element
SPACE = re.compile(r"[ \t\r\n]*")
REST_OF_NUMBER = re.compile(r"[-+0-9.eE]*")  # the end of a block may have cut a number
MARK = BYTE_ORDER_MARK.decode("latin-1")
_DECODER = json.JSONDecoder()


def cut(
    file: InputFile, number: int, part_items: int, key: str | None, weigh: Callable[[Any], int] | None = None
) -> Iterator[Part]:
    """Parts of the list or the object under `key` of a document, or of the document itself where it is None.

    `weigh` says how many items an element gives, one where it is None. Raises: DataError.
    """
    digest, start, first, count, items, made = hashlib.sha256(), None, 0, 0, 0, 0

    def part() -> Part:
        name = f"{number:05d}-{made:07d}"
        return Part(name, file.place, digest.hexdigest()[:16], start, first, count, input_name=file.name)

    with opened(file.place) as source:
        stream = _Stream(source, file.place, 0)
        _enter(stream, key)
        for begin, content, value in _elements(stream):
            start = begin if start is None else start
            digest.update(content.encode("latin-1"))
            count, items = count + 1, items + (weigh(value) if weigh else 1)
            if items >= part_items:
                yield part()
                digest, start, first, count, items, made = hashlib.sha256(), None, first + count, 0, 0, made + 1
        if count:
            yield part()


def elements(part: Part) -> Iterator[tuple[str, str | None, Any]]:
    """(place for messages, name where it is a member of an object, value) of each element of a part.

    Raises: DataError where the document was changed or cannot be read.
    """
    with opened(part.place) as source:
        source.seek(part.start)
        stream = _Stream(source, part.place, part.start)
        for index, (_, text, _) in enumerate(itertools.islice(_elements(stream), part.count)):
            yield f"{part.place}: element {part.first + index + 1}", *_named(text)


class _Stream:
    """The text of a document from where it was read to, one character per byte."""

    def __init__(self, source: BinaryIO, place: Place, begin: int):
        self.source, self.place = source, place
        self.text, self.at, self.begin = "", 0, begin  # the byte of the document that `text` begins with
        self.mark = 0  # the text from here is kept

    def more(self) -> bool:
        """Reads on; False at the end. As much again as there is, so that a long element is not tried too often."""
        mark = min(self.mark, self.at)
        block = self.source.read(max(BLOCK, len(self.text) - mark))
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
    content = text.encode("latin-1")
    try:
        return None, json.loads(content)
    except ValueError:
        ((name, value),) = json.loads(b"{%b}" % content).items()
        return name, value
