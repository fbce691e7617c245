"""Answers to prompts: the protocol that recognition and synthesis are evaluated through, and greedy decoding."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

from lst_jax.core.shapes import Int
from lst_jax.data.documents import Example
from lst_jax.generate.generator import Generator
from lst_jax.generate.sampling import Sampling
from lst_jax.parallel.sharding import row_parts

Modality = Literal["text", "speech"]
ROWS = 8  # prompts in a batch, or the next multiple of the mesh's parts


@runtime_checkable
class Answering(Protocol):
    """Prompts to their answers."""

    name: str  # what is recorded beside the numbers

    def __call__(
        self, prompts: Sequence[Example], modality: Modality, most: Sequence[int]
    ) -> list[Int[np.ndarray, "n"]]:
        """The tokens that follow each prompt, in the order of the prompts, without the EOS that ends them.

        Args: every prompt ends with the marker of `modality`; `most` is the most tokens of each answer.
        """


class Greedy:
    """Takes the likeliest token of the answer's modality each time, by cached generation; an answer has at least one."""

    name = "greedy"

    def __init__(self, generator: Generator):
        """`generator` is that of the run which answers."""
        self._generator = generator

    def __call__(
        self, prompts: Sequence[Example], modality: Modality, most: Sequence[int]
    ) -> list[Int[np.ndarray, "n"]]:
        """See `Answering`."""
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i].token), most[i]))
        answers: dict[int, Int[np.ndarray, "n"]] = {}
        count = ROWS + -ROWS % row_parts(self._generator.mesh)
        for first in tqdm(range(0, len(order), count), desc="answers", unit=f"{count} prompts", leave=False):
            chosen = order[first : first + count]
            rows = [*chosen, *chosen[:1] * (count - len(chosen))]  # one number of rows for all batches
            found = self._generator.generate(
                [prompts[i] for i in rows],
                modality,
                Sampling(temperature=0.0),
                [0] * count,
                max_tokens=max(most[i] for i in chosen),
            )
            for i, answer in zip(chosen, found, strict=False):
                answers[i] = answer.token[answer.token != self._generator.vocab.eos_id][: most[i]]
        return [answers[i] for i in range(len(prompts))]
