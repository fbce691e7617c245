"""The rows on which both sides of a conversion are compared: one of text, one of speech, one that alternates."""

from typing import NamedTuple

import numpy as np

from lst_jax.config import Config
from lst_jax.core.shapes import Bool, Int, ndarray
from lst_jax.core.vocab import EOS_ID, Vocab
from lst_jax.data.patching import BoundaryRule, EachUnitRule, StaticRule, run_without_words
from lst_jax.model.architectures.registry import architecture_named

TOKENS = 61  # of a row; not a multiple of a patch or of a block
SPANS = 4  # of the row that alternates
SEED = 0


class Inputs(NamedTuple):
    """Whole rows, each one document from its first position on, without padding."""

    token_BT: Int[ndarray, "B T"]
    patch_start_BT: Bool[ndarray, "B T"]
    patch_end_BT: Bool[ndarray, "B T"]


def inputs_for(config: Config, tokens: int = TOKENS) -> Inputs:
    """The same rows for every model of the same vocabulary and patches.

    Example, tokens=9: BOS <t> x x x x x x x | BOS <s> 7 7 7 7 7 7 7 | BOS <t> x <s> 7 <t> x <s> 7.
    """
    rng, vocab = np.random.default_rng(SEED), config.joint_vocab
    patches_speech = architecture_named(config.model.architecture).patches_speech
    rule = StaticRule(config.data.patching.static_size) if patches_speech else EachUnitRule()
    size = (tokens - 1) // SPANS
    both = [(size, i % 2 == 1) for i in range(SPANS - 1)] + [(tokens - 1 - size * (SPANS - 1), True)]
    rows = [_row(spans, vocab, rule, rng) for spans in ([(tokens - 1, False)], [(tokens - 1, True)], both)]
    return Inputs(*(np.stack(parts) for parts in zip(*rows, strict=True)))


def _row(spans, vocab: Vocab, rule: BoundaryRule, rng: np.random.Generator):
    """Tokens, starts and ends of BOS and the spans, each (tokens with its marker, whether it is speech)."""
    token, start, end = [vocab.bos_id], [True], [True]
    for length, speech in spans:
        token.append(vocab.speech_marker if speech else vocab.text_marker)
        low, high = (vocab.unit_offset, vocab.size) if speech else (EOS_ID + 1, vocab.text_size)
        token.extend(rng.integers(low, high, length - 1))
        starts, ends = (rule if speech else EachUnitRule()).boundaries(run_without_words(length - 1))
        start.extend([True, *starts])
        end.extend([True, *ends])
    return np.array(token, np.int32), np.array(start, bool), np.array(end, bool)
