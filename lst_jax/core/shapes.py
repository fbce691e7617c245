"""Array types of public signatures, and the letters of their dimensions.

Shazeer suffixes: `x_BUD` has the dimensions B, U, D. Lower case is a per-device size inside `shard_map`.

    B rows of a batch            H, G, K query heads, key/value heads, head width
    T token positions of a row   F feed-forward width
    U patch positions of a row   V joint vocabulary
    D global width               L layers (never a length)
    E local width                Q queries per patch (the paper's k)

The tests turn on checking of every annotated signature (`tests/conftest.py` installs jaxtyping's import hook with
beartype); production runs without it.
"""

from jaxtyping import Array, Bool, Float, Int
from numpy import ndarray

__all__ = ["Array", "Bool", "Float", "Int", "ndarray"]
