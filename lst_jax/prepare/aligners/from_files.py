"""Words and times that another program found, from files of the import formats."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import SLACK_SEC, Placed
from lst_jax.data.importers.formats import AlignmentFormat
from lst_jax.prepare import audio as audio_lib


class FileAligner:
    """Words and times that another program found, by item id; the transcript's own words are not used."""

    def __init__(self, form: AlignmentFormat, path: str, options: Mapping[str, Any], name: str | None = None):
        """Opens files of a format with its `options`. `name` saves reading them all, where a copy knows it."""
        self.form, self.path, self.options = form, path, dict(options)
        known = {option.name for option in form.options}
        odd = next((option for option in options if option not in known), None)
        if odd is not None:
            raise DataError(f"--{odd.replace('_', '-')}: is no option of --aligner {form.name}:PATH; leave it out")
        self.file = form.open(path, **options)
        chosen = "".join(f"/{key}={value}" for key, value in sorted(options.items()))
        self.name = name or f"{self.file.name}/{self.file.fingerprint()}{chosen}"

    def __reduce__(self):
        """Pickles as its settings."""
        return type(self), (self.form, self.path, self.options, self.name)

    def align(self, item_id: str, audio: np.ndarray, words: Sequence[str]) -> list[Placed]:
        """The file's words of the item. Raises: RejectedItem where it has none, or is of another recording."""
        found, length_sec = self.file.lookup(item_id), len(audio) / audio_lib.RATE
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
        return list(found.words)

    def guessed(self, words: Sequence[str]) -> list[str]:
        """None: pronunciations are not this program's."""
        return []
