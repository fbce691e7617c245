"""How speech is cut into patches: boundary rules, and the patching strategies that choose one for each document.

The paper's example (§3): words at frames [2,4] and [6,7] of 8. With silence separate the patches are {0,1} {2,3,4} {5}
{6,7}; with silence merged they are {0..5} {6,7}. Where the first word has text pieces of 2 characters and 1, patches of
text pieces are {0,1} {2,3} {4} {5} {6,7}. A rule returns where patches start, and where they are known to end:

    >>> import numpy as np
    >>> run = SpeechRun(8, np.array([2, 6]), np.array([5, 8]), ((2, 1), (3,)))
    >>> [np.flatnonzero(bounds).tolist() for bounds in AlignedRule().boundaries(run)]
    [[0, 2, 5, 6], [1, 4, 5, 7]]
    >>> [np.flatnonzero(bounds).tolist() for bounds in AlignedRule(merged=True).boundaries(run)]
    [[0, 6], [5, 7]]
    >>> [np.flatnonzero(bounds).tolist() for bounds in AlignedRule(text_pieces=True).boundaries(run)]
    [[0, 2, 4, 5, 6], [1, 3, 4, 5, 7]]
    >>> [np.flatnonzero(bounds).tolist() for bounds in StaticRule(3).boundaries(run)]
    [[0, 3, 6], [2, 5]]
"""

from lst_jax.data.patching.aligned import Aligned, AlignedRule
from lst_jax.data.patching.base import Boundaries, BoundaryRule, SpeechRun, Strategy, run_without_words, word_edges
from lst_jax.data.patching.mixed import Curriculum, Mixed
from lst_jax.data.patching.none import EachUnitRule, NoPatches
from lst_jax.data.patching.registry import STRATEGIES, register, strategy_of
from lst_jax.data.patching.static import Static, StaticRule

__all__ = [
    "Aligned",
    "AlignedRule",
    "Boundaries",
    "BoundaryRule",
    "Curriculum",
    "EachUnitRule",
    "Mixed",
    "NoPatches",
    "STRATEGIES",
    "SpeechRun",
    "Static",
    "StaticRule",
    "Strategy",
    "register",
    "run_without_words",
    "strategy_of",
    "word_edges",
]
