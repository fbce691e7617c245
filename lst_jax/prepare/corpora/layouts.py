"""All layouts, registered: one import line and one entry for each file of readers."""

from lst_jax.prepare.corpora import (
    common_voice,
    gigaspeech,
    huggingface,
    kaldi,
    lhotse,
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
    webdataset,
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
    lhotse.LAYOUTS,  # its cuts are also LibriLight's
    huggingface.LAYOUTS,
    text_beside.LAYOUTS,
    librispeech.LAYOUTS,  # it looks through a whole tree
    webdataset.LAYOUTS,  # tars also lie beside what was unpacked from them
    lines.LAYOUTS,
):
    for _layout in _layouts:
        register(_layout)
