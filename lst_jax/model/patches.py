"""What the model needs to know of patches, derived in one place from the boundaries of a batch."""

from typing import NamedTuple

import jax.numpy as jnp

from lst_jax.core.shapes import Array, Bool, Int
from lst_jax.model import branches
from lst_jax.model.attention import BRANCH
from lst_jax.model.patch_rows import gather


class Patches(NamedTuple):
    """The patch view of a batch; U is static.

    Example (one row, U=4; documents 1 and 2, one padding token):
        patch_start 1 1 0 1 0 | doc_id 1 1 1 2 0 | patch_end 1 0 1 1 0
        -> patch_id 0 1 1 2 4 | visible_patch 0 0 1 2 4 | doc_id of patches 1 1 2 0
    """

    patch_id_BT: Int[Array, "B T"]  # index of the token's patch, U for padding
    visible_patch_BT: Int[
        Array, "B T"
    ]  # latest patch complete at the token (the lag of paper §4); U where there is none
    doc_id_BU: Int[Array, "B U"]  # document of each patch, 0 where there is no patch


def derive_patches(
    doc_id_BT: Int[Array, "B T"],
    patch_start_BT: Bool[Array, "B T"],
    patch_end_BT: Bool[Array, "B T"],
    row_patches: int,
    branched: bool = False,
) -> Patches:
    """Patch indices, what each token may see, and the documents of the U = `row_patches` patch positions.

    A token sees patches up to its own where `patch_end` is set, and otherwise up to the patch before its own. Where that
    patch belongs to another document, or to none, the token sees no patch.
    Args: `branched`: documents may branch (`model.branches`).
    """
    real_BT = doc_id_BT != 0
    patch_BT = jnp.cumsum(patch_start_BT, 1, dtype=jnp.int32) - 1
    patch_id_BT = jnp.where(real_BT, patch_BT, row_patches)
    rows_B1 = jnp.arange(doc_id_BT.shape[0])[:, None]
    doc_id_BU = (
        jnp.zeros((doc_id_BT.shape[0], row_patches), jnp.int32).at[rows_B1, patch_id_BT].max(doc_id_BT, mode="drop")
    )
    before_BT = gather(branches.before(doc_id_BU), patch_BT) if branched else patch_BT - 1
    visible_BT = jnp.where(patch_end_BT, patch_BT, before_BT)
    visible_doc_BT = gather(doc_id_BU, visible_BT)
    same_BT = visible_doc_BT == doc_id_BT
    if branched:
        same_BT |= visible_doc_BT == doc_id_BT % BRANCH
    same_BT &= real_BT & (visible_BT >= 0)
    return Patches(patch_id_BT, jnp.where(same_BT, visible_BT, row_patches), doc_id_BU)


class LocalRows(NamedTuple):
    """The tokens of a row that pass the local networks, gathered into a row of their own as if it held nothing else.

    Example (one row, T=6, U=6, S=4; BOS <t> a <s> 7 7, static patches of 2; BOS, <t> and a are not local):
        position 3 4 5 6 | patch_id 0 1 1 4 | row_patch of the patches 3 4 6 6
    """

    position_BS: Int[Array, "B S"]  # position in the whole row, T where there is no token
    token_BS: Int[Array, "B S"]
    doc_id_BS: Int[Array, "B S"]
    patches: Patches  # of S tokens in P patches
    row_patch_BP: Int[Array, "B P"]  # patch position in the whole row, U where there is no patch
    fits_B: Bool[Array, "B"]  # the row has at most S such tokens, in at most P patches


def gather_local(
    is_local_BT: Bool[Array, "B T"],
    token_BT: Int[Array, "B T"],
    doc_id_BT: Int[Array, "B T"],
    patch_start_BT: Bool[Array, "B T"],
    patch_end_BT: Bool[Array, "B T"],
    row: Patches,
    size: int,
    patches: int | None = None,
    branched: bool = False,
) -> LocalRows:
    """Gathers the local tokens of each row into rows of `size` tokens in `patches` patches.

    Args: `row` has the patches of the whole rows. The tokens of a patch are either all local, or none of them is.
        `patches`: None = as many as S and U allow.
    """
    (b, t), row_patches = token_BT.shape, row.doc_id_BU.shape[1]
    patches = min(size, row_patches, patches or size)
    rows_B1 = jnp.arange(b)[:, None]
    slot_BT = jnp.where(is_local_BT, jnp.cumsum(is_local_BT, 1, dtype=jnp.int32) - 1, size)
    position_BS = jnp.full((b, size), t, jnp.int32).at[rows_B1, slot_BT].set(jnp.arange(t), mode="drop")
    token_BS, doc_id_BS, start_BS, end_BS, row_patch_BS = (
        gather(x, position_BS) for x in (token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row.patch_id_BT)
    )
    local = derive_patches(doc_id_BS, start_BS, end_BS, patches, branched)
    row_patch_BP = jnp.full(local.doc_id_BU.shape, row_patches, jnp.int32)
    row_patch_BP = row_patch_BP.at[rows_B1, local.patch_id_BT].min(row_patch_BS, mode="drop")
    fits_B = (is_local_BT.sum(1) <= size) & ((is_local_BT & patch_start_BT).sum(1) <= patches)
    return LocalRows(position_BS, token_BS, doc_id_BS, local, row_patch_BP, fits_B)
