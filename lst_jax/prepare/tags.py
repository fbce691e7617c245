"""Marks in transcripts that are no words, such as [laughter] and <unk>.

Corpora write sounds between brackets among the words. Spoken as a word, such a mark would be placed over other speech.
"""

import re

from lst_jax.core.errors import RejectedItem
from lst_jax.data.importers import base

# A mark in angle or curly brackets is one word; in square brackets some write several: [background noise].
TAG = re.compile(r"<[^<>\s]{1,40}>|\{[^{}\s]{1,40}\}|\[[^\[\]]{1,40}\]")


def without_tags(text: str) -> tuple[str, list[str]]:
    """The text without marks of sounds, and these marks.

    Example: "press [laughter] eight" -> ("press eight", ["[laughter]"])
    Raises: RejectedItem where a mark stands for a word that nobody wrote down, such as <unk>.
    """
    tags = TAG.findall(text)
    unknown = next((tag for tag in tags if tag.lower() in base.UNKNOWN_MARKS), None)
    if unknown is not None:
        raise RejectedItem(
            "unknown word", f"its text has {unknown} for a word that is spoken; write the word, or leave the item out"
        )
    return (" ".join(TAG.sub(" ", text).split()), tags) if tags else (text, tags)
