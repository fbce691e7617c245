"""What became of items: records, rejections and counts, of one item, of a part, of a shard, and of all."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from lst_jax.data import shards
from lst_jax.storage.place import Place

REPORT_NAME = "report.json"
EXAMPLES = 5  # of each reason in the report; all are in the shards' own files
GUESSED = 10_000  # words with guessed pronunciation that the report names at most, the commonest
MOST_GUESSED = 500_000  # that memory holds of all shards: of more, the rarest half is forgotten


@dataclasses.dataclass(frozen=True)
class Rejection:
    """An item that was left out, the short reason it is counted under, and the line that says more."""

    id: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Made:
    """What became of one item: the record's bytes and counts, or a rejection."""

    payload: bytes | None
    frames: int
    words: int
    rejection: Rejection | None
    guessed: tuple[str, ...]
    notes: dict[str, int | float] = dataclasses.field(default_factory=dict)  # what was accepted but should be known


@dataclasses.dataclass(frozen=True)
class PartState:
    """A part that is finished. Names and digests say what it is made from."""

    name: str
    digest: str  # of what it was read from
    audio_files: str  # digest of sizes and times of its local recordings; "" of texts
    items: int
    records: int
    bytes: int  # of its file
    sha256: str

    @property
    def file_name(self) -> str:
        """Of its records."""
        return f"{self.name}.{self.digest}.array_record"

    @property
    def sidecar_name(self) -> str:
        """Of the file that says that it is finished, and all of its identity."""
        return f"{self.name}.{self.digest}.{self.audio_files}.json"


@dataclasses.dataclass(frozen=True)
class Account:
    """What became of consecutive items."""

    items: int
    frames: int
    words: int
    rejected: tuple[Rejection, ...]
    guessed_words: dict[str, int]  # words whose pronunciation was guessed, and how often
    notes: dict[str, int | float]  # of all items, summed

    @classmethod
    def parsed(cls, mapping: Mapping[str, Any]) -> "Account":
        """What `dataclasses.asdict` made. Raises: TypeError, KeyError."""
        return cls(**{**mapping, "rejected": tuple(Rejection(**one) for one in mapping["rejected"])})


class Tally:
    """Adds up what became of items, in their order."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.items = self.frames = self.words = self.records = 0
        self.rejected: list[Rejection] = []
        self.guessed: collections.Counter[str] = collections.Counter()
        self.notes: dict[str, int | float] = {}

    def add(self, made: Made) -> None:
        """Counts one item."""
        self.items += 1
        self.frames += made.frames
        self.words += made.words
        self.records += made.payload is not None
        self.guessed.update(made.guessed)
        _add_notes(self.notes, made.notes)
        if made.rejection is not None:
            self.rejected.append(made.rejection)

    def account(self) -> Account:
        """All that was counted."""
        return Account(
            self.items,
            self.frames,
            self.words,
            tuple(self.rejected),
            dict(sorted(self.guessed.items())),
            _rounded(self.notes),
        )


def total(accounts: Iterable[Account]) -> Account:
    """The account of all items of several."""
    tally = Tally()
    for one in accounts:
        tally.items += one.items
        tally.frames += one.frames
        tally.words += one.words
        tally.rejected += one.rejected
        tally.guessed.update(one.guessed_words)
        _add_notes(tally.notes, one.notes)
    return tally.account()


@dataclasses.dataclass
class Report:
    """The outcome: counts, examples of rejections by reason, guessed words. It grows by a shard at a time."""

    directory: Place
    items: int = 0
    prepared: int = 0
    frames: int = 0
    words: int = 0
    reasons_found: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    examples: list[Rejection] = dataclasses.field(default_factory=list)  # EXAMPLES of each reason at most
    guessed_words: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    forgot_guessed: bool = False
    notes: dict[str, int | float] = dataclasses.field(default_factory=dict)

    def add(self, shard: shards.ShardInfo, account: Account) -> None:
        """Counts a shard."""
        self.items += account.items
        self.prepared += shard.records
        self.frames += account.frames
        self.words += account.words
        for rejection in account.rejected:
            self.reasons_found[rejection.reason] += 1
            if self.reasons_found[rejection.reason] <= EXAMPLES:
                self.examples.append(rejection)
        self.guessed_words.update(account.guessed_words)
        if len(self.guessed_words) > MOST_GUESSED:
            self.forgot_guessed = True
            self.guessed_words = collections.Counter(dict(self.guessed_words.most_common(MOST_GUESSED // 2)))
        _add_notes(self.notes, account.notes)

    @property
    def rejected(self) -> int:
        """How many items were left out."""
        return self.reasons_found.total()

    def line(self) -> str:
        """One line for the log."""
        text = f"{self.directory}: {self.prepared} prepared, {self.rejected} rejected"
        if self.rejected:
            text += f" ({', '.join(f'{count} {reason}' for reason, count in self.reasons())})"
        if self.guessed_words:
            more = "more than " * self.forgot_guessed
            text += f", {more}{len(self.guessed_words)} words with guessed pronunciation"
        for what, amount in _rounded(self.notes).items():
            text += f", {amount:g} {what}"
        return f"{text}; {self.directory / REPORT_NAME} says more"

    def reasons(self) -> list[tuple[str, int]]:
        """Reasons and counts, the commonest first."""
        return self.reasons_found.most_common()

    def mapping(self) -> dict[str, Any]:
        """What `report.json` holds."""
        reasons = {}
        for reason, count in self.reasons():
            examples = [rejection for rejection in self.examples if rejection.reason == reason]
            reasons[reason] = {"count": count, "examples": {r.id: r.message for r in examples}}
        guessed = sorted(self.guessed_words.items(), key=lambda pair: (-pair[1], pair[0]))
        return {
            "items": self.items,
            "prepared": self.prepared,
            "rejected": self.rejected,
            "reasons": reasons,
            "guessed_words": dict(guessed[:GUESSED]),
            "notes": _rounded(self.notes),
        }


def _add_notes(notes: dict[str, int | float], more: Mapping[str, int | float]) -> None:
    for what, amount in more.items():
        notes[what] = amount + (notes[what] if what in notes else 0)


def _rounded(notes: Mapping[str, int | float]) -> dict[str, int | float]:
    return {what: round(amount, 2) for what, amount in sorted(notes.items()) if round(amount, 2)}
