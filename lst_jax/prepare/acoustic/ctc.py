"""CTC forced alignment: the best path of known characters through a model's log-probabilities (Graves et al. 2006).

A path says for every frame either a character of the text, in order, each at least one frame, or the blank; between
two equal characters there is at least one blank. Character l ends where the next frame says something else.
Letters: B recordings, T frames, V characters of the model, N characters of a text.

Example: text "ab", best path _aa_b -> a at [1, 3), b at [4, 5)
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

NEVER = -1e30  # a score no path has; finite, so that differences stay numbers


class Alignment(NamedTuple):
    """Where each character is; frames are end exclusive. Beyond a text's end, starts and ends are 0."""

    start_BN: Int[Array, "B N"]
    end_BN: Int[Array, "B N"]
    score_BN: Float[Array, "B N"]  # mean log-probability of the character over its frames
    total_B: Float[Array, "B"]  # log-probability of the path
    fits_B: Bool[Array, "B"]  # False: fewer frames than the text needs, nothing else of this row means anything


def needed_frames(characters: Sequence[int]) -> int:
    """Frames that a text needs: one a character, and one between two that are equal."""
    return len(characters) + sum(a == b for a, b in zip(characters, characters[1:], strict=False))


@functools.partial(jax.jit, static_argnames=("blank",))
def align(
    log_prob_BTV: Float[Array, "B T V"],
    frames_B: Int[Array, "B"],
    text_BN: Int[Array, "B N"],
    length_B: Int[Array, "B"],
    *,
    blank: int = 0,
) -> Alignment:
    """Viterbi alignment of padded texts (N >= 1) to padded log-probabilities; texts never hold the blank."""
    place_N = jnp.arange(text_BN.shape[1])
    inside_BN = place_N < length_B[:, None]
    text_BN = jnp.where(inside_BN, text_BN, 0)
    twice_BN = jnp.pad(text_BN[:, 1:] == text_BN[:, :-1], ((0, 0), (1, 0)))  # no step from the character before
    needed_B = length_B + (twice_BN & inside_BN).sum(1)
    back_TBN, last_is_blank_B = _forward(log_prob_BTV, frames_B, text_BN, length_B, twice_BN, blank)
    path_BT = _backward(back_TBN, last_is_blank_B, frames_B, length_B)
    emitted_BT = jnp.where(path_BT >= 0, jnp.take_along_axis(text_BN, jnp.maximum(path_BT, 0), 1), blank)
    score_BT = jnp.take_along_axis(log_prob_BTV, emitted_BT[..., None], 2)[..., 0]
    alive_BT = jnp.arange(path_BT.shape[1]) < frames_B[:, None]
    return Alignment(
        *_spans(path_BT, score_BT, text_BN.shape[1]), jnp.where(alive_BT, score_BT, 0).sum(1), needed_B <= frames_B
    )


def _forward(
    log_prob_BTV: Array, frames_B: Array, text_BN: Array, length_B: Array, twice_BN: Array, blank: int
) -> tuple[Array, Array]:
    """Backpointers and whether each best path ends in a blank.

    Two scores for each place n: being in character n, and being in the blank before it (place N is the blank after
    the text). A byte of backpointers [T, B, N+1]: bit 0, the blank came from the character before it; bits 1 and 2,
    the character came from itself (0), from the blank before it (1), from the character before it (2).
    Scores are kept relative to the best one, so that float32 is enough for any length.
    """
    rows, places = text_BN.shape

    def step(carry, inputs):
        blank_BP, char_BN = carry  # P = N + 1
        log_prob_BV, t = inputs
        before_BP = jnp.pad(char_BN, ((0, 0), (1, 0)), constant_values=NEVER)
        from_char_BP = before_BP > blank_BP
        skip_BN = jnp.where(twice_BN, NEVER, before_BP[:, :-1])
        best_BN = jnp.maximum(char_BN, blank_BP[:, :-1])
        from_BN = jnp.where(skip_BN > best_BN, 2, jnp.where(blank_BP[:, :-1] > char_BN, 1, 0))
        new_blank_BP = jnp.maximum(before_BP, blank_BP) + log_prob_BV[:, blank, None]
        new_char_BN = jnp.maximum(best_BN, skip_BN) + jnp.take_along_axis(log_prob_BV, text_BN, 1)
        best_B1 = jnp.maximum(new_blank_BP.max(1), new_char_BN.max(1))[:, None]
        alive_B1 = (t < frames_B)[:, None]
        back_BP = from_char_BP.astype(jnp.uint8) | jnp.pad(from_BN.astype(jnp.uint8) << 1, ((0, 0), (0, 1)))
        return (
            jnp.where(alive_B1, jnp.maximum(new_blank_BP - best_B1, NEVER), blank_BP),
            jnp.where(alive_B1, jnp.maximum(new_char_BN - best_B1, NEVER), char_BN),
        ), back_BP

    start = (jnp.full((rows, places + 1), NEVER).at[:, 0].set(0.0), jnp.full((rows, places), NEVER))
    steps = (jnp.moveaxis(log_prob_BTV, 1, 0), jnp.arange(log_prob_BTV.shape[1]))
    (blank_BP, char_BN), back_TBP = lax.scan(step, start, steps)
    last_blank_B = jnp.take_along_axis(blank_BP, length_B[:, None], 1)[:, 0]
    last_char_B = jnp.take_along_axis(char_BN, jnp.maximum(length_B - 1, 0)[:, None], 1)[:, 0]
    return back_TBP, (last_blank_B > last_char_B) | (length_B == 0)


def _backward(back_TBP: Array, last_is_blank_B: Array, frames_B: Array, length_B: Array) -> Array:
    """The path [B, T]: place of the character a frame says, -1 for the blank and beyond the end."""

    def step(carry, inputs):
        place_B, is_blank_B = carry  # a blank at place p is the one before character p
        back_BP, t = inputs
        alive_B = t < frames_B
        said_B = jnp.where(alive_B & ~is_blank_B, place_B, -1)
        back_B = jnp.take_along_axis(back_BP, place_B[:, None], 1)[:, 0]
        from_char_B, source_B = (back_B & 1) == 1, back_B >> 1
        to_blank_B = jnp.where(is_blank_B, ~from_char_B, source_B == 1)
        back_one_B = jnp.where(is_blank_B, from_char_B, source_B == 2)
        new_place_B = jnp.maximum(place_B - back_one_B, 0)
        return (jnp.where(alive_B, new_place_B, place_B), jnp.where(alive_B, to_blank_B, is_blank_B)), said_B

    start = (jnp.where(last_is_blank_B, length_B, length_B - 1), last_is_blank_B)
    _, path_TB = lax.scan(step, start, (back_TBP, jnp.arange(back_TBP.shape[0])), reverse=True)
    return path_TB.T


def _spans(path_BT: Array, score_BT: Array, places: int) -> tuple[Array, Array, Array]:
    """Start, end and mean score [B, N] of each character."""
    rows, frames = path_BT.shape
    row_B1, t_T = jnp.arange(rows)[:, None], jnp.arange(frames)
    to_BT = jnp.where(path_BT >= 0, path_BT, places)  # one place more, for the blank
    start_BN = jnp.full((rows, places + 1), frames).at[row_B1, to_BT].min(t_T)[:, :-1]
    end_BN = jnp.zeros((rows, places + 1), int).at[row_B1, to_BT].max(t_T + 1)[:, :-1]
    sum_BN = jnp.zeros((rows, places + 1)).at[row_B1, to_BT].add(score_BT)[:, :-1]
    seen_BN = end_BN > 0
    return jnp.where(seen_BN, start_BN, 0), end_BN, jnp.where(seen_BN, sum_BN / jnp.maximum(end_BN - start_BN, 1), 0.0)


def word_spans(start_N: np.ndarray, end_N: np.ndarray, text: Sequence[int], separator: int) -> list[tuple[int, int]]:
    """(start_frame, end_frame) of each word of a text whose words stand between separators.

    Example: text "ab|c" with a at [1, 3), b at [4, 5), | at [6, 7), c at [8, 9) -> [(1, 5), (8, 9)]
    """
    words, before = [], separator
    for start, end, character in zip(start_N, end_N, text, strict=False):
        if character != separator:
            words.append((int(start) if before == separator else words.pop()[0], int(end)))
        before = character
    return words
