"""Answers to prompts: the protocol that adaptation is evaluated through, and its slow reference without a cache."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lst_jax.config import Config
from lst_jax.data.documents import Example
from lst_jax.data.patching import inference_policy
from lst_jax.errors import ConfigError
from lst_jax.model import lst
from lst_jax.shapes import Int
from lst_jax.vocab import BOS_ID, EOS_ID

Modality = Literal["text", "speech"]
ROWS = 8
LENGTHS = 128  # rows are as long as a multiple of this: a program is compiled for each length


@runtime_checkable
class Answering(Protocol):
    """Prompts to their answers."""

    name: str  # what is recorded beside the numbers

    def __call__(self, prompts: Sequence[Example], modality: Modality,
                 most: Sequence[int]) -> list[Int[np.ndarray, "n"]]:
        """The tokens that follow each prompt, in its order: without EOS, which ends them, and at most so many of each.

        Args: every prompt ends with the marker of `modality`; `most` tokens of each answer.
        """


class GreedyWithoutCache:
    """The likeliest token at a time, the whole row computed anew for each: tiny models and tests only.

    Within an answer the other modality's tokens and markers cannot be chosen.
    """

    name = "greedy, without a cache"

    def __init__(self, config: Config, params: Any):
        """`params` on one device."""
        self._config, self._params, self._vocab = config, params, config.joint_vocab
        self._step = jax.jit(self._next, static_argnums=0)

    def __call__(self, prompts: Sequence[Example], modality: Modality,
                 most: Sequence[int]) -> list[Int[np.ndarray, "n"]]:
        """See `Answering`. Raises: ConfigError where speech would have to be aligned to be generated."""
        size = patch_units(self._config) if modality == "speech" else 1
        answers: dict[int, Int[np.ndarray, "n"]] = {}
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].token))
        for first in range(0, len(order), ROWS):
            chosen = order[first:first + ROWS]
            made = self._answer_rows([prompts[i] for i in chosen], modality, [most[i] for i in chosen], size)
            answers.update(zip(chosen, made, strict=True))
        return [answers[i] for i in range(len(prompts))]

    def _answer_rows(self, prompts: Sequence[Example], modality: Modality, most: Sequence[int], size: int):
        longest = max(len(prompt.token) + room for prompt, room in zip(prompts, most, strict=True))
        shape = (ROWS, -(-longest // LENGTHS) * LENGTHS)
        token_BT, doc_id_BT = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        start_BT, end_BT = np.zeros(shape, bool), np.zeros(shape, bool)
        for row, prompt in enumerate(prompts):
            here = row, slice(len(prompt.token))
            token_BT[here], start_BT[here], end_BT[here] = prompt.token, prompt.patch_start, prompt.patch_end
            doc_id_BT[here] = 1
        answers: list[list[int]] = [[] for _ in prompts]
        going = [room > 0 for room in most]
        while any(going):
            last_B = np.maximum((doc_id_BT > 0).sum(1) - 1, 0)
            chosen_B = np.asarray(self._step(modality, self._params, token_BT, doc_id_BT, start_BT, end_BT, last_B))
            for row in np.flatnonzero(going):
                if chosen_B[row] == EOS_ID:
                    going[row] = False
                    continue
                number, at = len(answers[row]), last_B[row] + 1
                token_BT[row, at], doc_id_BT[row, at] = chosen_B[row], 1
                start_BT[row, at], end_BT[row, at] = number % size == 0, (number + 1) % size == 0
                answers[row].append(int(chosen_B[row]))
                going[row] = len(answers[row]) < most[row]
        return [np.array(answer, np.int32) for answer in answers]

    def _next(self, modality: Modality, params, token_BT, doc_id_BT, start_BT, end_BT, last_B):
        """The likeliest allowed token behind position `last_B` of each row."""
        vocab, units = self._vocab, token_BT.shape[1]  # a token a patch at most
        model = lst.build(self._config.model, vocab, units)
        hidden_BTE = model.hidden(params, token_BT, doc_id_BT, start_BT, end_BT)
        logits_B1V = model.logits(params, hidden_BTE[jnp.arange(len(last_B)), last_B][:, None])
        id_V = jnp.arange(vocab.size)
        allowed_V = (vocab.is_text(id_V) & (id_V > BOS_ID)) if modality == "text" else vocab.is_speech(id_V)
        return jnp.argmax(jnp.where(allowed_V | (id_V == EOS_ID), logits_B1V[:, 0], -jnp.inf), -1)


def patch_units(config: Config) -> int:
    """Units a patch of generated speech: 1 for Base. Raises: ConfigError where an aligner would have to cut them."""
    policy = inference_policy(config.data.patching)
    if policy not in ("static", "none"):
        raise ConfigError(f"data.patching.strategy={config.data.patching.strategy!r}: speech is generated before it "
                          "could be aligned; use a model that was trained on static, mixed or curriculum patches")
    return config.data.patching.static_size if policy == "static" else 1
