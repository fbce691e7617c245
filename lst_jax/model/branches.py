"""Documents that branch: several continuations of one prefix, which is computed once (`evals.scorer`).

The tokens of such a document lie in its row as a trunk (the prefix), then its branches one after the other. The trunk
of document d has the document number d, and its branch b ≥ 1 has d + b·BRANCH. A branch sees the trunk and itself, and
its positions continue those of the trunk. The trunk with one branch therefore computes what they would compute as a
document of their own. Rows for training have no branches.

Example: two responses x y and z behind a b c, then another document
    doc_id 1 1 1 B+1 B+1 2B+1 2 2 -> position 0 1 2 3 4 3 6 7
"""

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.model.attention import BRANCH, blocked_attention
from lst_jax.model.rotary import Theta, rope


def positions(doc_id_BN: Int[Array, "B N"]) -> Int[Array, "B N"]:
    """Positions of tokens or patches: those in the row for trunks; those of branches continue their trunk."""
    begins_BN, before_BN = _begins(doc_id_BN)
    is_branch_BN = doc_id_BN >= BRANCH
    another_BN = begins_BN & is_branch_BN & (before_BN >= BRANCH) & (doc_id_BN % BRANCH == before_BN % BRANCH)
    place_N = jnp.arange(doc_id_BN.shape[1])
    begin_BN, fork_BN = (
        jax.lax.cummax(jnp.where(here_BN, place_N, 0), 1) for here_BN in (begins_BN, begins_BN & ~another_BN)
    )
    return jnp.where(is_branch_BN, place_N - begin_BN + fork_BN, place_N)


def before(doc_id_BN: Int[Array, "B N"]) -> Int[Array, "B N"]:
    """The place in the row of what comes before each token or patch in its own sequence.

    At the beginning of a document that is a place of another document, or -1.
    """
    begins_BN, _ = _begins(doc_id_BN)
    return jnp.where(begins_BN, positions(doc_id_BN), jnp.arange(doc_id_BN.shape[1])) - 1


def _begins(doc_id_BN) -> tuple[Bool[Array, "B N"], Int[Array, "B N"]]:
    before_BN = jnp.pad(doc_id_BN[:, :-1], ((0, 0), (1, 0)))
    return doc_id_BN != before_BN, before_BN


def attend(
    q_BTHK: Float[Array, "B T H K"],
    k_BTHK: Float[Array, "B T H K"],
    v_BTHK: Float[Array, "B T H K"],
    doc_id_BT: Int[Array, "B T"],
    theta: Theta,
    window: int | None,
    block: int,
) -> Float[Array, "B T H K"]:
    """Self-attention for rows whose documents may branch, on every platform (`kernels.SelfAttention`)."""
    position_BT = positions(doc_id_BT)
    q_BTHK, k_BTHK = (rope(x, theta, position_BT) for x in (q_BTHK, k_BTHK))
    return blocked_attention(q_BTHK, k_BTHK, v_BTHK, position_BT, position_BT, doc_id_BT, doc_id_BT, window, block)
