"""Completion choice: is the true second half of a held-out utterance likelier than another one's, given the first half?

Conventions, recorded beside every number (paper §9): the response is scored given the prompt; both the sum and the mean
per token of its log-likelihood choose; the modality marker that opens a response belongs to the prompt, EOS is not
scored; in S→S the response follows in the same speech run, its patches counted from its own first unit; a tie is half.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from lst_jax.data.documents import Example, ExampleBuilder
from lst_jax.data.interleave import halves
from lst_jax.data.records import Utterance

DIRECTIONS = {"s2s": ("speech", "speech"), "t2t": ("text", "text"),
              "s2t": ("speech", "text"), "t2s": ("text", "speech")}
MIN_WORDS = 4  # two a half


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One choice of one item: its tokens, and where the response begins (it ends before the example does)."""

    example: Example
    response_start: int
    response_end: int


@dataclasses.dataclass(frozen=True)
class Item:
    """A question: the true completion first, then the other one."""

    id: str
    candidates: tuple[Candidate, Candidate]


def make_items(utterances: Sequence[Utterance], builder: ExampleBuilder, direction: str, policy: str,
               limit: int) -> list[Item]:
    """At most `limit` items, one an utterance of at least four words, in the order given.

    The other completion comes from the utterance with other words whose second half lasts most nearly as long, so that
    length alone decides little.
    """
    prompt_modality, response_modality = DIRECTIONS[direction]
    usable = [u for u in utterances if len(u.words) >= MIN_WORDS]
    seconds = [halves(u)[1] for u in usable]
    frames = np.array([s.end_frame - s.start_frame for s in seconds])
    texts = [" ".join(w.text for w in u.words[s.first_word:]) for u, s in zip(usable, seconds, strict=True)]
    items = []
    for i, utterance in enumerate(usable[:limit]):
        others = [j for j in range(len(usable)) if texts[j] != texts[i]]
        if not others:
            continue
        other = min(others, key=lambda j: (abs(int(frames[j] - frames[i])), j))
        candidates = tuple(_candidate(builder, utterance, source, prompt_modality, response_modality, policy)
                           for source in (utterance, usable[other]))
        items.append(Item(utterance.id, candidates))
    return items


def _candidate(builder: ExampleBuilder, prompt: Utterance, response: Utterance, prompt_modality: str,
               response_modality: str, policy: str) -> Candidate:
    first, second = halves(prompt)[0], halves(response)[1]
    runs = [builder.run(prompt, first._replace(modality=prompt_modality), policy),
            builder.run(response, second._replace(modality=response_modality), policy)]
    if prompt_modality == response_modality:
        runs[1] = runs[1]._replace(marker=None)
    example = builder.join(runs)
    end = len(example.token) - 1
    return Candidate(example, end - len(runs[1].token), end)


def choose(scores: Sequence[Sequence[float]]) -> tuple[int, float]:
    """(items, right ones) where the first score of each item is the true one's; a tie is half right."""
    right = sum(1.0 if s[0] > max(s[1:]) else 0.5 if s[0] == max(s[1:]) else 0.0 for s in scores)
    return len(scores), right


def wilson_interval(right: float, items: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion (95% by default); it stays within 0 and 1 for few items."""
    share = right / items
    centre = (share + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    return max(0.0, centre - half), min(1.0, centre + half)
