"""All layouts, registered: one import line and one entry for each reader. Of those that fit a place the first is taken."""

from lst_jax.prepare.corpora import huggingface, lhotse, lines, trees, webdataset
from lst_jax.prepare.corpora.registry import register

for _layout in (
    *huggingface.LAYOUTS,
    *lhotse.LAYOUTS,
    *webdataset.LAYOUTS,
    *trees.LAYOUTS,
    *lines.LAYOUTS,
):
    register(_layout)
