"""All layouts, registered: one import line and one entry for each reader. Of those that fit a place the first is taken."""

from lst_jax.prepare.corpora import lines, trees
from lst_jax.prepare.corpora.registry import register

for _layout in (
    *trees.LAYOUTS,
    *lines.LAYOUTS,
):
    register(_layout)
