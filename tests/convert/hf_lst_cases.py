"""LSTs of several shapes, documents of text and speech, and their logits by this package."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np
import synthetic_data
from flax import traverse_util
from model_cases import random_params, small_config, windows

from lst_jax.config import StackConfig
from lst_jax.convert.source import Source, Stored
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.model.architectures.registry import build
from lst_jax.recipes.load import load_recipe

SIZE, LENGTH = 3, 40
MODELS = {
    "two-queries": small_config(),
    "wider-windows": small_config(
        **windows(3),
        queries_per_patch=3,
        encoder_cross_all_layers=True,
        decoder_cross_all_layers=False,
        patch_encoder=StackConfig(2, 16, 2, 4),
        patch_decoder=StackConfig(3, 16, 2, 5),
    ),
    "four-queries-of-the-global-width": small_config(
        queries_per_patch=4, global_transformer=StackConfig(2, 64, 2, 9), encoder_cross_window=2, cross_heads=4
    ),
    "demo": load_recipe(str(pathlib.Path(__file__).parents[2] / "configs" / "demo.py")).model,
    "bypass": small_config("lst_bypass"),
    "bypass-with-wider-windows": small_config(
        "lst_bypass",
        **windows(3),
        queries_per_patch=4,
        encoder_cross_all_layers=True,
        patch_encoder=StackConfig(2, 16, 2, 4),
        global_transformer=StackConfig(2, 64, 2, 9),
    ),
    "equal-widths": small_config(global_transformer=StackConfig(2, 16, 2, None), queries_per_patch=1),
}
KINDS = ["s", "t", "sts", "tsts", "ssts", "stt"]  # runs of the documents


def config_of(model, **changes):
    """A run of made-up records with this model and static patches of SIZE at inference."""
    config = synthetic_data.make_config(static_size=SIZE, **changes)
    room = config.data.row_tokens if model.architecture == "lst_bypass" else None
    return dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, row_speech_tokens=room))


VOCAB = config_of(MODELS["two-queries"]).joint_vocab


def source_of(config, params):
    """Nested parameters as a source."""
    flat = traverse_util.flatten_dict(params, sep="/")
    return Source(config, {path: Stored(x.shape, functools.partial(np.asarray, x)) for path, x in flat.items()}, {})


@functools.cache
def built(name):
    """(model, nested parameters) of one of MODELS."""
    model = build(MODELS[name], VOCAB, LENGTH)
    return model, random_params(model)


def document(rng, kinds, most=9):
    """Tokens of BOS, runs of these kinds ("t" or "s") behind their markers, EOS."""
    token = [BOS_ID]
    for kind in kinds:
        length = int(rng.integers(1, most))
        marker, first, size = (
            (VOCAB.text_marker, 3, VOCAB.text_size - 3)
            if kind == "t"
            else (VOCAB.speech_marker, VOCAB.unit_offset, VOCAB.unit_slots)
        )
        token += [marker, *(first + rng.integers(0, size, length))]
    return np.array([*token, EOS_ID], np.int32)


@functools.cache
def documents():
    """One of each of KINDS."""
    rng = np.random.default_rng(7)
    return [document(rng, kinds) for kinds in KINDS]


def boundaries(token, size=SIZE, marker_counts=False):
    """Where static patches start and where they are known to end, token by token."""
    start, end, place = [], [], 0
    for t in token:
        if marker_counts and t == VOCAB.speech_marker:
            place = 0
        unit = t >= VOCAB.unit_offset or (marker_counts and t == VOCAB.speech_marker)
        start.append(not unit or place % size == 0)
        end.append(not unit or place % size == size - 1)
        place = place + 1 if unit else 0
    return np.array(start), np.array(end)


def aligned_boundaries(token):
    """Patches of one to five units, whose ends an aligner knows."""
    start, left, rng = [], 0, np.random.default_rng(len(token))
    for before, t in zip([0, *token], token, strict=False):
        unit = t >= VOCAB.unit_offset
        opens = not unit or before < VOCAB.unit_offset or left == 0
        left = int(rng.integers(0, 5)) if opens else left - 1
        start.append(opens)
    return np.array(start), np.array([*start[1:], True])


def restarted_boundaries(token):
    """Static patches that begin anew behind the fifth and the eleventh token, as a response's do."""
    start, end, place = [], [], 0
    for i, t in enumerate(token):
        unit = t >= VOCAB.unit_offset
        place = 0 if not unit or i in (5, 11) else place
        start.append(not unit or place % SIZE == 0)
        end.append(not unit or place % SIZE == SIZE - 1)
        place = place + 1 if unit else 0
    return np.array(start), np.array(end)


def rows_of(tokens):
    """Arguments of our model: one document a row, padded behind."""
    rows = [np.zeros((len(tokens), LENGTH), kind) for kind in (np.int32, np.int32, bool, bool)]
    for i, token in enumerate(tokens):
        for row, values in zip(rows, (token, np.ones(len(token)), *boundaries(token)), strict=True):
            row[i, : len(token)] = values
    return rows


@functools.cache
def expected(name):
    """Logits [B, T, V] of `documents`, padded behind, by this package."""
    model, params = built(name)
    return np.asarray(jax.jit(model)(params, *rows_of(documents())))
