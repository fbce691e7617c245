"""All layouts, registered: one import line and one entry for each file of readers."""

from lst_jax.prepare.corpora import (
    common_voice,
    gigaspeech,
    kaldi,
    librilight,
    librispeech,
    lines,
    ljspeech,
    mls,
    nemo,
    peoples_speech,
    speechbrain,
    spotify,
    text_beside,
)
from lst_jax.prepare.corpora.registry import register

for _layouts in (  # the first one that a folder looks like is taken
    common_voice.LAYOUTS,
    gigaspeech.LAYOUTS,
    kaldi.LAYOUTS,
    librilight.LAYOUTS,
    ljspeech.LAYOUTS,
    mls.LAYOUTS,
    nemo.LAYOUTS,
    peoples_speech.LAYOUTS,
    speechbrain.LAYOUTS,
    spotify.LAYOUTS,
    text_beside.LAYOUTS,
    librispeech.LAYOUTS,  # it looks through a whole tree
    lines.LAYOUTS,
):
    for _layout in _layouts:
        register(_layout)
