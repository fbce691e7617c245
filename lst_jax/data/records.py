"""The two kinds of record, and how they are stored as bytes (docs/formats.md).

Example: an utterance of 8 frames with the words "a" at frames 2-4 and "b" at 6-7. Frames outside words are silence.

    Utterance("u1", np.array([5, 5, 9, 9, 9, 5, 3, 3], np.uint16), (Word("a", 2, 5), Word("b", 6, 8)), None, None)
"""

import dataclasses
from collections.abc import Callable

import msgpack
import numpy as np

from lst_jax.core.errors import DataError

KINDS = ("utterance", "text")


@dataclasses.dataclass(frozen=True)
class Word:
    """A spoken word and its frames [start_frame, end_frame), counted at the unit rate."""

    text: str
    start_frame: int
    end_frame: int


@dataclasses.dataclass(frozen=True, eq=False)
class Utterance:
    """Speech units (uint16 [frames], one per frame, not de-duplicated), and the words spoken in them, in order."""

    id: str
    units: np.ndarray
    words: tuple[Word, ...]
    speaker: str | None
    source: str | None

    def __eq__(self, other) -> bool:
        """Whether all fields are equal; units are compared element by element."""
        if not isinstance(other, Utterance):
            return NotImplemented
        return (self.id, self.words, self.speaker, self.source) == (
            other.id,
            other.words,
            other.speaker,
            other.source,
        ) and np.array_equal(self.units, other.units)

    __hash__ = None


@dataclasses.dataclass(frozen=True)
class TextDocument:
    """A text. It is tokenised when it is read."""

    id: str
    text: str


def encode(record: Utterance | TextDocument) -> bytes:
    """The record's msgpack map. `decode` is its exact inverse.

    Raises: DataError where a unit id does not fit 16 bits.
    """
    if isinstance(record, TextDocument):
        return msgpack.packb({"id": record.id, "text": record.text})
    units = np.asarray(record.units)
    if units.size and (units.min() < 0 or units.max() > np.iinfo(np.uint16).max):
        raise DataError(
            f"{record.id}: unit ids must lie in 0..65535, not {int(units.min())}..{int(units.max())}; "
            "check the unit file"
        )
    return msgpack.packb(
        {
            "id": record.id,
            "units": units.astype("<u2").tobytes(),
            "words": [w.text for w in record.words],
            "starts": np.array([w.start_frame for w in record.words], "<i4").tobytes(),
            "ends": np.array([w.end_frame for w in record.words], "<i4").tobytes(),
            "speaker": record.speaker,
            "source": record.source,
        }
    )


def id_of(payload: bytes) -> str:
    """The id in what `encode` made of a record of either kind."""
    return msgpack.unpackb(payload)["id"]


def decode(kind: str, payload: bytes) -> Utterance | TextDocument:
    """The record of `kind` ("utterance" or "text") whose `encode` is `payload`.

    Raises: DataError where the bytes are not such a record. Callers add the file and the record's number.
    """
    decoder = _DECODERS[kind]
    try:
        fields = msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:
        raise DataError(f"record: is not a msgpack map ({error}); write the shard again") from error
    if not isinstance(fields, dict) or set(fields) != set(_FIELDS[kind]):
        found = sorted(map(str, fields)) if isinstance(fields, dict) else type(fields).__name__
        raise DataError(
            f"record: must have the fields {', '.join(_FIELDS[kind])}, not {found}; write the shard again "
            f"as kind {kind!r}"
        )
    for name, value in fields.items():
        if not isinstance(value, _FIELDS[kind][name]):
            raise DataError(f"record: field {name} has the wrong type {type(value).__name__}; write the shard again")
    return decoder(fields)


def check_utterance(utterance: Utterance, codebook_size: int) -> None:
    """Checks units against the codebook and words against the frames.

    Raises: DataError naming the utterance, the rule and the fix.
    """
    frames = len(utterance.units)
    if not frames:
        raise DataError(f"{utterance.id}: has no units; leave it out")
    top = int(utterance.units.max())
    if top >= codebook_size:
        raise DataError(
            f"{utterance.id}: unit {top} is outside the codebook of {codebook_size}; give the codebook "
            "that made these units"
        )
    before = 0
    for number, word in enumerate(utterance.words):
        if before <= word.start_frame < word.end_frame <= frames and word.text.strip():
            before = word.end_frame
            continue  # every record is checked when it is read, so an error's text is made only where there is an error
        where = f"{utterance.id}: word {number} {word.text!r} at frames [{word.start_frame}, {word.end_frame})"
        if not word.text.strip():
            raise DataError(f"{where} has no text; leave the word out: frames outside words are silence")
        if word.start_frame < 0:
            raise DataError(f"{where} starts before the audio; align it again")
        if word.start_frame >= word.end_frame:
            raise DataError(f"{where} has no frames; give it at least one")
        if word.start_frame < before:
            raise DataError(
                f"{where} starts before frame {before}, where the previous word ends; sort the words and "
                "cut the overlap"
            )
        raise DataError(f"{where} ends after the last of the {frames} units; check the unit rate of the alignment")


def _decode_utterance(fields: dict) -> Utterance:
    sizes = {name: len(fields[name]) for name in ("units", "starts", "ends")}
    count = len(fields["words"])
    if sizes["units"] % 2 or sizes["starts"] != 4 * count or sizes["ends"] != 4 * count:
        raise DataError(
            f"record {fields['id']!r}: {sizes['units']}, {sizes['starts']} and {sizes['ends']} bytes of "
            f"units, starts and ends do not fit {count} words; write the shard again"
        )
    if not all(isinstance(text, str) for text in fields["words"]):
        raise DataError(f"record {fields['id']!r}: words must be strings; write the shard again")
    starts = np.frombuffer(fields["starts"], "<i4").tolist()
    ends = np.frombuffer(fields["ends"], "<i4").tolist()
    words = tuple(map(Word, fields["words"], starts, ends))
    return Utterance(fields["id"], np.frombuffer(fields["units"], "<u2"), words, fields["speaker"], fields["source"])


def _decode_text(fields: dict) -> TextDocument:
    return TextDocument(fields["id"], fields["text"])


_DECODERS: dict[str, Callable[[dict], Utterance | TextDocument]] = {
    "utterance": _decode_utterance,
    "text": _decode_text,
}
_FIELDS = {
    "utterance": {
        "id": str,
        "units": bytes,
        "words": list,
        "starts": bytes,
        "ends": bytes,
        "speaker": str | None,
        "source": str | None,
    },
    "text": {"id": str, "text": str},
}
