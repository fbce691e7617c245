"""All layouts, registered: one import line and one entry for each file of readers."""

from lst_jax.prepare.corpora import (
    gigaspeech,
    librilight,
    librispeech,
    lines,
    mls,
    spotify,
)
from lst_jax.prepare.corpora.registry import register

for _layouts in (  # the first one that a folder looks like is taken
    gigaspeech.LAYOUTS,
    librilight.LAYOUTS,
    librispeech.LAYOUTS,
    mls.LAYOUTS,
    spotify.LAYOUTS,
    lines.LAYOUTS,
):
    for _layout in _layouts:
        register(_layout)
