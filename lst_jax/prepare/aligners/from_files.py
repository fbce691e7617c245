"""Words and times that another program found, from files of the import formats."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import SLACK_SEC, Placed
from lst_jax.data.importers import base
from lst_jax.data.importers.formats import AlignmentFormat
from lst_jax.prepare import audio as audio_lib
from lst_jax.prepare.aligners import fit

MOST_DIFFERING = 0.5  # share of words that two texts of one recording may not have in common: another spelling


class FileAligner:
    """Words and times that another program found, by item id. The transcript only tells whether they are its own."""

    def __init__(
        self,
        form: AlignmentFormat,
        path: str,
        options: Mapping[str, Any],
        name: str | None = None,
        contested: frozenset[str] = frozenset(),
    ):
        """Opens files of a format with its `options`.

        `name` saves reading them all, where a copy knows it. For `contested` items see `for_items`.
        """
        self.form, self.path, self.options, self.contested = form, path, dict(options), contested
        known = {option.name for option in form.options}
        odd = next((option for option in options if option not in known), None)
        if odd is not None:
            raise DataError(f"--{odd.replace('_', '-')}: is no option of --aligner {form.name}:PATH; leave it out")
        self.file = form.open(path, **options)
        chosen = "".join(f"/{key}={value}" for key, value in sorted(options.items()))
        self.name = name or f"{self.file.name}/{self.file.fingerprint()}{chosen}"

    def __reduce__(self):
        """Pickles as its settings."""
        return type(self), (self.form, self.path, self.options, self.name, self.contested)

    def for_items(self, item_ids: Sequence[str]) -> "FileAligner":
        """This aligner, told which items it will be asked for: those that would share one alignment are refused."""
        claims: dict[str, list[str]] = {}
        for item_id in item_ids:
            key = self.file.key(item_id)
            if key is not None:
                claims.setdefault(key, []).append(item_id)
        contested = {item_id for ids in claims.values() if len(ids) > 1 for item_id in ids}
        own = {item_id for item_id in contested if self.file.key(item_id) == item_id}
        return FileAligner(self.form, self.path, self.options, self.name, frozenset(contested - own))

    def channel_of(self, item_id: str) -> str | None:
        """The channel of the recording that the item's words are of, where the file says it."""
        return self.file.lookup(item_id).channel

    def align(self, item_id: str, audio: np.ndarray, words: Sequence[str]) -> list[Placed]:
        """The file's words of the item. Raises: RejectedItem, as `align_length`."""
        return self.align_length(item_id, len(audio) / audio_lib.RATE, words)

    def align_length(self, item_id: str, length_sec: float, words: Sequence[str]) -> list[Placed]:
        """The file's words of an item whose recording lasts `length_sec`; `words` are its transcript's, if known.

        Raises: RejectedItem where there are none, or they are of another recording or of another text.
        """
        if item_id in self.contested:
            raise RejectedItem(
                "no alignment", f"{item_id}: shares an alignment in {self.path} with another item; give each its own"
            )
        found = self.file.lookup(item_id)
        if not found.words:
            raise RejectedItem("no spoken words", f"{self.path} has nothing but silence for it; leave it out")
        last_sec = max(end_sec for *_, end_sec in found.words)
        wrong_length = found.duration_sec is not None and abs(found.duration_sec - length_sec) > SLACK_SEC
        if wrong_length or last_sec > length_sec + SLACK_SEC:
            claimed_sec = found.duration_sec if wrong_length else last_sec
            raise RejectedItem(
                "other length",
                f"the audio has {length_sec:g} s, its alignment in {self.path} "
                f"{claimed_sec:g} s; are both of one recording?",
            )
        different, total = fit.differing(words, [word for word, *_ in found.words])
        if words and different > MOST_DIFFERING * total:
            placed = " ".join(word for word, *_ in found.words)
            raise RejectedItem(
                "other words",
                f"its alignment in {self.path} says {base.short(placed)}, its transcript "
                f"{base.short(' '.join(words))}; are both of one recording?",
            )
        return list(found.words)

    def guessed(self, words: Sequence[str]) -> list[str]:
        """None: pronunciations are not this program's."""
        return []
