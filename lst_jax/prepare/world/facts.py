"""Who there is in the made-up world, what is true of each person, and in which way each fact is told.

Every person has one thing of each relation. A quarter of a person's facts are told in texts alone, a quarter in speech
alone, a quarter in both and a quarter nowhere. Within the women and within the men, each thing of a relation is equally
frequent in each of the four ways: exactly where `people` is a multiple of 96, else within one.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal

from lst_jax.core.errors import DataError
from lst_jax.data.rng import generator
from lst_jax.prepare.world import words

Modality = Literal["text", "speech"]
MODALITIES: tuple[Modality, ...] = ("text", "speech")
TOLD = ("text", "speech", "both", "untold")  # the four ways
TOLD_IN: dict[Modality, frozenset[str]] = {"text": frozenset({"text", "both"}), "speech": frozenset({"speech", "both"})}
BLOCK = 16  # people: eight women and eight men, in which every relation is told in every way equally often
RELATIONS = (len(TOLD), len(words.RELATIONS))  # how many there may be, with as many facts of a person in each way
FEWEST = 3 * BLOCK  # with fewer, few ways of telling have four things of one group, which hellaswag asks for
MOST = 2 * len(words.WOMEN) * len(words.SURNAMES)


@dataclasses.dataclass(frozen=True)
class Person:
    """A person; no two have both names in common."""

    first: str
    last: str
    is_woman: bool

    @property
    def name(self) -> str:
        """Example: "anna bates"."""
        return f"{self.first} {self.last}"


@dataclasses.dataclass(frozen=True)
class Fact:
    """One thing that is true. `to` receives the thing of the relation gift, else it is None. `told` is one of TOLD."""

    subject: Person
    relation: str
    thing: str
    to: Person | None
    told: str

    @property
    def id(self) -> str:
        """Example: "food/anna-bates"."""
        return f"{self.relation}/{self.subject.first}-{self.subject.last}"

    def is_told_in(self, modality: Modality) -> bool:
        """Whether documents of this modality tell it."""
        return self.told in TOLD_IN[modality]


@dataclasses.dataclass(frozen=True)
class World:
    """People and facts; a function of `people`, `seed` and the number of relations alone."""

    people: tuple[Person, ...]
    relations: tuple[words.Relation, ...]
    facts: tuple[Fact, ...]
    seed: int

    @functools.cached_property
    def facts_of(self) -> dict[Person, dict[str, Fact]]:
        """The facts of each person, by relation."""
        found: dict[Person, dict[str, Fact]] = {person: {} for person in self.people}
        for fact in self.facts:
            found[fact.subject][fact.relation] = fact
        return found


def make_world(people: int, seed: int, relations: int = RELATIONS[-1]) -> World:
    """The world of so many people: as few different names as can be, half of them women's. It has the first `relations`.

    Raises: DataError where `people` cannot be shared out evenly, or there are not so many names.
    """
    if people % BLOCK or not FEWEST <= people <= MOST:
        raise DataError(
            f"--people {people}: must be a multiple of {BLOCK} from {FEWEST} to {MOST}; write for example 96 or {MOST}"
        )
    if relations not in RELATIONS:
        raise DataError(f"--relations {relations}: must be {' or '.join(map(str, RELATIONS))}; correct it")
    everyone, some = _people(people), tuple(words.RELATIONS[:relations])
    told = _ways(everyone, some, seed)
    return World(everyone, some, _facts(everyone, some, told, seed), seed)


def _people(count: int) -> tuple[Person, ...]:
    """Women, then men, as many of each, from about as many first names as surnames."""
    firsts = min(len(words.WOMEN), math.ceil(math.sqrt(count) / 2))
    pairs = [(f, s) for s in range(len(words.SURNAMES)) for f in range(firsts)][: count // 2]
    return tuple(
        Person(names[f], words.SURNAMES[s], names is words.WOMEN)
        for names in (words.WOMEN, words.MEN)
        for f, s in pairs
    )


def _ways(everyone: Sequence[Person], relations: Sequence[words.Relation], seed: int) -> dict[tuple[Person, str], str]:
    """How each fact is told. As many people as there are relations form a block. In a block the ways of a relation are
    those of a person, each equally often."""
    ways: dict[tuple[Person, str], str] = {}
    draw, size = generator(seed, "world", "told"), len(relations)
    for start in range(0, len(everyone), size):
        order = [(TOLD * (size // len(TOLD)))[i] for i in draw.permutation(size)]
        for shift, person in zip(draw.permutation(size), everyone[start : start + size], strict=True):
            for number, relation in enumerate(relations):
                ways[person, relation.name] = order[(number + shift) % size]
    return ways


def _facts(
    everyone: Sequence[Person], relations: Sequence[words.Relation], told: dict[tuple[Person, str], str], seed: int
) -> tuple[Fact, ...]:
    """Deals the things of each relation out in turn, way by way, to women and then to men."""
    facts = []
    for relation in relations:
        draw = generator(seed, "world", "things", relation.name)
        things = [relation.things[i] for i in draw.permutation(len(relation.things))]
        receivers = _receivers(everyone, draw) if relation.name == "gift" else {}
        dealt = 0
        for way in TOLD:
            for is_woman in (True, False):
                theirs = [p for p in everyone if p.is_woman == is_woman and told[p, relation.name] == way]
                for number in draw.permutation(len(theirs)):
                    person = theirs[number]
                    facts.append(Fact(person, relation.name, things[dealt % len(things)], receivers.get(person), way))
                    dealt += 1
    order = {person: number for number, person in enumerate(everyone)}
    return tuple(sorted(facts, key=lambda fact: order[fact.subject]))


def _receivers(everyone: Sequence[Person], draw) -> dict[Person, Person]:
    """Everyone gives to one other person, and gets something from one: a single circle."""
    circle = [everyone[i] for i in draw.permutation(len(everyone))]
    return dict(zip(circle, [*circle[1:], circle[0]], strict=True))


def by_way(facts: Sequence[Fact]) -> dict[str, int]:
    """How many facts are told in each way."""
    counts = collections.Counter(fact.told for fact in facts)
    return {way: counts[way] for way in TOLD}
