"""All layouts, registered: one import line and one entry for each reader."""

from lst_jax.prepare.corpora import (
    gigaspeech,
    librilight,
    librispeech,
    mls,
    spotify,
)
from lst_jax.prepare.corpora.registry import register

for _layout in (
    gigaspeech.LAYOUT,
    librilight.LAYOUT,
    librispeech.LAYOUT,
    mls.LAYOUT,
    spotify.LAYOUT,
):
    register(_layout)
