"""Rows of fixed shape, their counts, and the state of the stream that makes them.

Every row of the global batch is a stream of its own. Row r of a batch of B rows keeps five integers per source
(`ORDINAL`, `OFFSET`, `OPENED_STEP`, `CONSUMED`, `MEASURED`): it reads document number `ordinal * B + r` of that source,
has emitted `offset` of its tokens, and opened it at step `opened_step`. It has taken `consumed` tokens from the source
so far, which are `measured` of what the mixture counts. A row at a step is a pure function of the config, r and these.

Example, T=16 tokens, U=16 patch positions, one source whose documents are `BOS <t> a..t EOS`, all patches of 1:

    step 0   BOS <t> a b c d e f g h i j k l m n           state (ordinal 0, offset 16)
    step 1   <t> o p q r s t EOS | BOS <t> a b c d e f     the marker is repeated before the rest of the document

`row_builder` fills one row with segments of documents; `row_streams` chooses them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from lst_jax.config import Config

ORDINAL, OFFSET, OPENED_STEP, CONSUMED, MEASURED = range(5)
STATE_FIELDS = 5
Stats = dict[str, Any]  # numpy int64 scalars, and arrays [sources]; they add up over rows and steps


class Batch(NamedTuple):
    """Rows for the model; a single row has the same fields without the leading dimension.

    `target_BT` is the next token of the same segment where `weight_BT` is 1. That is everywhere but in prompts
    (`Example.loss_from`) and at the end of a segment. `doc_id_BT` counts segments from 1; padding is 0. `patch_end_BT`
    is True where the patch is complete and that is known without the tokens that follow.
    """

    token_BT: Int32[np.ndarray, "B T"]
    target_BT: Int32[np.ndarray, "B T"]
    weight_BT: Float32[np.ndarray, "B T"]
    doc_id_BT: Int32[np.ndarray, "B T"]
    patch_start_BT: Bool[np.ndarray, "B T"]
    patch_end_BT: Bool[np.ndarray, "B T"]


BATCH_TYPES = Batch(np.int32, np.int32, np.float32, np.int32, np.bool_, np.bool_)


class Windows(NamedTuple):
    """The model's attention windows, by which rows count query-key pairs.

    Windows of the three networks are in positions (None = all earlier ones), those of the two cross-attentions in
    patches. Tokens whose id is below `local_from` bypass the local networks.
    """

    encoder: int | None
    global_: int | None
    decoder: int | None
    encoder_cross: int
    decoder_cross: int
    local_from: int


def windows_of(config: Config) -> Windows:
    """The windows of a run's model. A local network that it does not have has None."""
    m = config.model
    return Windows(
        m.patch_encoder and m.patch_encoder.window,
        m.global_transformer.window,
        m.patch_decoder and m.patch_decoder.window,
        m.encoder_cross_window,
        m.decoder_cross_window,
        config.joint_vocab.speech_marker if m.architecture == "lst_bypass" else 0,
    )


def initial_state(rows: int, sources: int) -> Int64[np.ndarray, "B S 5"]:
    """The state of every stream before its first document."""
    return np.zeros((rows, sources, STATE_FIELDS), np.int64)


def causal_pairs(length: int, window: int | None) -> int:
    """Query-key pairs of `length` positions, each of which sees itself and the earlier positions within `window`."""
    full = length if window is None else min(length, window)
    return full * (full + 1) // 2 + (length - full) * full


def add_stats(stats: Sequence[Stats]) -> Stats:
    """The sum over rows or steps of counts with the same keys."""
    return {key: sum(s[key] for s in stats[1:]) + stats[0][key] for key in stats[0]}


def stack_rows(rows: Sequence[Batch]) -> Batch:
    """Stacks rows of [T] arrays to one batch of [B, T] arrays."""
    return Batch(*[np.stack(column) for column in zip(*rows, strict=True)])
