"""Sentences of the made-up world from their patterns, and which of them training, validation and items may use.

A *gapped* sentence has all of its words but the thing. Its digest decides to which split it belongs, so that no sentence
of one split is in another, whatever thing fills the gap.

Example: "{s} eats some {o} {t}" for Anna Bates -> gapped "anna bates eats some {o} at noon" -> filled with "soup"
"anna bates eats some soup at noon."
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from lst_jax.core.errors import DataError
from lst_jax.prepare.world import words
from lst_jax.prepare.world.facts import Fact, Person, World

Split = Literal["train", "valid", "test"]
TEST_SHARE, VALID_SHARE = 0.15, 0.10  # of the gapped sentences
THING = "{o}"  # the gap of a sentence
BY_NAME = {relation.name: relation for relation in words.RELATIONS}
TRIES = 20_000  # draws before a seed is given up; one in ten is of the rarest split


def split_of(gapped: str, seed: int) -> Split:
    """The split that a gapped sentence belongs to."""
    digest = hashlib.blake2b(f"{seed}:{gapped}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "little") / 2**64
    return "test" if place < TEST_SHARE else "valid" if place < TEST_SHARE + VALID_SHARE else "train"


def filled(gapped: str, thing: str) -> str:
    """The whole sentence. Example: ("she ate some {o} at noon", "soup") -> "she ate some soup at noon."."""
    return f"{gapped.replace(THING, thing)}."


class Teller:
    """Draws sentences of one split about one person."""

    def __init__(self, world: World, split: Split, person: Person, draw: np.random.Generator):
        """All choices come from `draw`."""
        self._world, self._split, self._person, self._draw = world, split, person, draw

    def context(self, by_name: bool) -> str:
        """A sentence about the person that tells nothing."""
        return f"{self.gapped(words.CONTEXTS, by_name)}."

    def lead(self, fact: Fact, by_name: bool) -> str:
        """A sentence that may come before the fact, and does not tell it."""
        return f"{self.gapped(BY_NAME[fact.relation].leads, by_name, fact.to)}."

    def tell(self, fact: Fact, by_name: bool) -> str:
        """A sentence that tells the fact."""
        return filled(self.gapped(BY_NAME[fact.relation].fact_patterns(), by_name, fact.to), fact.thing)

    def gapped(self, patterns: Sequence[str], by_name: bool, receiver: Person | None = None) -> str:
        """A sentence of the split with its gap, if it has one. Raises: DataError where the split has none."""
        for _ in range(TRIES):
            pattern = patterns[self._draw.integers(len(patterns))]
            gapped = pattern.format(
                o=THING,
                t=words.TIMES[self._draw.integers(len(words.TIMES))],
                w=words.OPENINGS[self._draw.integers(len(words.OPENINGS))],
                q=self._someone_else() if "{q}" in pattern else "",
                r="" if receiver is None else receiver.name,
                **forms(self._person, by_name),
            )
            if split_of(gapped, self._world.seed) == self._split:
                return gapped
        raise DataError(
            f"--seed {self._world.seed}: has no {self._split} sentence for {patterns[0]!r}; use another seed"
        )

    def _someone_else(self) -> str:
        others = self._world.people
        other = others[self._draw.integers(len(others))]
        return (other if other != self._person else others[others.index(other) - 1]).name


def forms(person: Person, by_name: bool) -> dict[str, str]:
    """What stands for the person in the slots s, m and p."""
    own = "her" if person.is_woman else "his"
    if by_name:
        return {"s": person.name, "m": person.name, "p": own}
    return {"s": "she", "m": "her", "p": own} if person.is_woman else {"s": "he", "m": "him", "p": own}
