"""All layouts, registered: one import line and one entry for each reader. Of those that fit a place the first is taken."""

from lst_jax.prepare.corpora import (
    common_voice,
    gigaspeech,
    huggingface,
    json_array,
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

for _layout in (
    *common_voice.LAYOUTS,
    *gigaspeech.LAYOUTS,
    *kaldi.LAYOUTS,
    *librilight.LAYOUTS,
    *ljspeech.LAYOUTS,
    *mls.LAYOUTS,
    *nemo.LAYOUTS,
    *peoples_speech.LAYOUTS,
    *speechbrain.LAYOUTS,
    *spotify.LAYOUTS,
    *lhotse.LAYOUTS,  # its cuts are also LibriLight's
    *huggingface.LAYOUTS,
    *text_beside.LAYOUTS,
    *librispeech.LAYOUTS,  # it looks through a whole tree of this machine
    *webdataset.LAYOUTS,  # tars also lie beside what was unpacked from them
    *lines.LAYOUTS,
    *json_array.LAYOUTS,
):
    register(_layout)
