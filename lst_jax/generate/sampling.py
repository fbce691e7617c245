"""Which tokens may come next, and which of them is drawn.

    output   after BOS, text       after <t>    after <s>    after a unit
    text     text, EOS             text                      <t>
    speech   <s>                                units        units, EOS
    free     text, EOS, <s>        text         units        units, EOS, <t>

A run of text or speech has at least one token, as in training. BOS, other special tokens and unused ids are never generated.
In "free", a marker follows BOS.
"""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lst_jax.core.errors import ConfigError
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.core.vocab import PAD_ID, Vocab

OUTPUTS = ("text", "speech", "free")
STATES = AFTER_BOS, AFTER_TEXT, AFTER_TEXT_MARKER, AFTER_SPEECH_MARKER, AFTER_UNIT = range(5)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a token is drawn.

    The logits are divided by `temperature` (0 = the likeliest token). The `top_k` likeliest tokens remain (0 = all), and
    of these the likeliest that together have at least `top_p` of the probability (1 = all).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        """Raises: ConfigError."""
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"temperature={self.temperature}: must be 0 (the likeliest token) or above; use 1")
        if self.top_k < 0:
            raise ConfigError(f"top_k={self.top_k}: must be 0 (all tokens) or above; use 0")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p={self.top_p}: must lie above 0 and at most at 1 (all tokens); use 1")

    @property
    def filters(self) -> bool:
        """Whether drawing needs the tokens sorted by their probability."""
        return self.temperature > 0 and (self.top_k > 0 or self.top_p < 1)


class Numbers(NamedTuple):
    """The numbers of a `Sampling`, as arguments of a compiled function."""

    temperature: float | Array
    top_k: int | Array
    top_p: float | Array


def sample(logits_BV: Float[Array, "B V"], key_B, numbers: Numbers, filters: bool) -> Int[Array, "B"]:
    """Draws one token per row, which depends on the logits and the key of this row alone.

    Args: `logits_BV` is -inf for ids that are not allowed; `key_B` are PRNG keys; `filters` as in `Sampling.filters`.
    """
    logits_BV = logits_BV.astype(jnp.float32)
    likeliest_B = jnp.argmax(logits_BV, -1)
    scaled_BV = logits_BV / jnp.where(numbers.temperature > 0, numbers.temperature, 1)
    if filters:
        order_BV = jnp.argsort(-scaled_BV, -1)  # stable: of equal logits the lower id comes first
        sorted_BV = jnp.take_along_axis(scaled_BV, order_BV, -1)
        rank_V = jnp.arange(logits_BV.shape[-1])
        sorted_BV = jnp.where((rank_V < numbers.top_k) | (numbers.top_k == 0), sorted_BV, -jnp.inf)
        p_BV = jax.nn.softmax(sorted_BV, -1)
        before_BV = jnp.cumsum(p_BV, -1) - p_BV  # probability of all likelier tokens; the first token is always kept
        sorted_BV = jnp.where((before_BV < numbers.top_p) | (rank_V == 0), sorted_BV, -jnp.inf)
        drawn_B = jax.vmap(jax.random.categorical)(key_B, sorted_BV)
        drawn_B = jnp.take_along_axis(order_BV, drawn_B[:, None], -1)[:, 0]
    else:
        drawn_B = jax.vmap(jax.random.categorical)(key_B, scaled_BV)
    return jnp.where(numbers.temperature > 0, drawn_B, likeliest_B).astype(jnp.int32)


def allowed_ids(vocab: Vocab, output: str, units: int, special: Collection[int] = (PAD_ID,)) -> Bool[np.ndarray, "C V"]:
    """Which ids may follow each of `STATES`, by the table above.

    Args: `units` speech ids are in use; `special` are text ids that no text holds (`TextTokenizer.special_ids`).
    """
    if output not in OUTPUTS:
        raise ConfigError(f"to={output}: must be one of {', '.join(OUTPUTS)}; use free")
    text, speech = np.zeros((2, vocab.size), bool)
    text[: vocab.text_size] = True
    text[[vocab.bos_id, vocab.eos_id, *special]] = False
    speech[vocab.unit_offset : vocab.unit_offset + units] = True
    end, text_marker, speech_marker = (
        np.arange(vocab.size) == i for i in (vocab.eos_id, vocab.text_marker, vocab.speech_marker)
    )
    none = np.zeros(vocab.size, bool)
    return np.stack(
        {
            "text": [text_marker, text | end, text, none, text_marker],
            "speech": [speech_marker, speech_marker, none, speech, speech | end],
            "free": [text_marker | speech_marker, text | end | speech_marker, text, speech, speech | end | text_marker],
        }[output]
    )


def state_of(vocab: Vocab, token_B: Int[Array, "B"]) -> Int[Array, "B"]:
    """The one of `STATES` that each token leads to."""
    return jnp.select(
        [token_B == vocab.bos_id, vocab.is_text(token_B), token_B == vocab.text_marker, token_B == vocab.speech_marker],
        [AFTER_BOS, AFTER_TEXT, AFTER_TEXT_MARKER, AFTER_SPEECH_MARKER],
        AFTER_UNIT,
    )
