"""All layouts, registered: one import line and one entry for each reader."""

from lst_jax.prepare.corpora import librispeech, mls
from lst_jax.prepare.corpora.registry import register

for _layout in (
    librispeech.LAYOUT,
    mls.LAYOUT,
):
    register(_layout)
