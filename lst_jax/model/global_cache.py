"""Patch-by-patch steps of the global transformer, for generation."""

from typing import NamedTuple

from lst_jax.core.shapes import Array
from lst_jax.model.cache import Cache, at_position, where_on
from lst_jax.model.networks import GlobalTransformer


class GlobalState(NamedTuple):
    """What the global transformer knows of each row, and what the patch decoder sees of it.

    R = patches in the decoder's window times Q. The last two fields are empty where there is no patch decoder.
    """

    patch_count_B: Array  # patches that have ended
    layer_caches: tuple[Cache, ...]
    newest_output_B1D: Array  # of the newest of these patches
    visible_keys_values: tuple[tuple[Array, Array], ...]  # [B, R, H, K] of each decoder cross-attention
    visible_BU: Array | None  # 1 for each patch of the window that exists; the newest is last


def transform_prompt(stack: GlobalTransformer, x_BUW, doc_id_BU, ended_B, slots: int) -> tuple[Array, GlobalState]:
    """All global outputs [B, U, D] of whole prompts, and the state after the patches that have ended."""
    x_BUD, caches = stack.inputs(x_BUW), []
    for layer in stack.layers:
        x_BUD, cache = layer.keep(x_BUD, doc_id_BU, ended_B, slots)
        caches.append(cache)
    return x_BUD, GlobalState(ended_B, tuple(caches), at_position(x_BUD, ended_B - 1), (), None)


def transform_patch(stack: GlobalTransformer, main: GlobalState, x_B1W, on_B) -> GlobalState:
    """The state after one patch more in rows that are on."""
    x_B1D, caches = stack.inputs(x_B1W), []
    for layer, cache in zip(stack.layers, main.layer_caches, strict=True):
        x_B1D, cache = layer.step(x_B1D, cache, main.patch_count_B, on_B)
        caches.append(cache)
    return main._replace(
        patch_count_B=main.patch_count_B + on_B,
        layer_caches=tuple(caches),
        newest_output_B1D=where_on(on_B, x_B1D, main.newest_output_B1D),
    )


def ended_patches(doc_id_BT, patch_end_BT, doc_id_BU) -> Array:
    """How many patches [B] have ended: all but the last one of a row whose last token does not end it."""
    last_ends_B = at_position(patch_end_BT, (doc_id_BT != 0).sum(1) - 1)[:, 0]
    return (doc_id_BU != 0).sum(1) - ~last_ends_B
