"""Questions about the made-up world: a story and its endings, of which one is right.

    storycloze        two endings with one thing of a group each: "then she ate some soup at noon." or "… some rice …"
    topicstorycloze   two endings of different relations, the wrong one off the story's topic, alike in length
    hellaswag         four endings of a sentence that the story has begun, with four things of one group

The endings are drawn first, then which of them is right, by a fair draw, and only then a person for whom it is. So no
look at the endings alone can tell which one is right. All sentences are of split "test", of which no document has any.
The endings of an item have equally many words, and equally many letters or one more.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lst_jax.core.errors import DataError
from lst_jax.data.rng import generator
from lst_jax.data.tasks.items import Item, Part
from lst_jax.prepare.world import words
from lst_jax.prepare.world.facts import TOLD, Fact, Person, World
from lst_jax.prepare.world.sentences import BY_NAME, THING, Teller, filled, forms, split_of

CONTEXTS = 2  # sentences that open a story; a third leads to the ending
LETTERS = 1  # by which endings of different relations may differ in all
TRIES = 10_000  # draws of endings before a world is too small


class Endings(NamedTuple):
    """The endings of an item, the number of the right one, a fact that makes it right, and the end of the story."""

    texts: tuple[str, ...]
    label: int
    fact: Fact
    begun: str = ""  # the beginning of the sentence that the endings go on with


def make_items(world: World, kind: str, count: int) -> Iterator[Item]:
    """`count` items of a kind about the facts of each of the four ways.

    Their bands are `told` and `relation`. Items about one fact are one group, as they stand or fall together.
    Raises: DataError where the world is too small for so many different ones.
    """
    gapped = _Gapped(world)
    for told in TOLD:
        writer = _Writer(world, gapped, kind, told)
        for number in range(count):
            yield writer.item(f"{kind}-{told}-{number:05d}")


class _Gapped:
    """The endings, with a gap, that items may use, for women (True) and for men (False)."""

    def __init__(self, world: World):
        someone = {person.is_woman: person for person in world.people}
        self.endings = {
            (one.name, woman): _of_items(world, one.ending_patterns(), person)
            for one in world.relations
            for woman, person in someone.items()
        }
        self.going_on = {
            (one.name, woman): _of_items(world, one.going_on_patterns(), person)
            for one in world.relations
            for woman, person in someone.items()
        }
        self.alike = {woman: self._alike(world.relations, woman) for woman in someone}

    def _alike(self, relations: Sequence[words.Relation], woman: bool) -> list[dict[str, list[str]]]:
        """Endings by relation, of two relations or more, for each opening with a time."""
        found: dict[tuple[str, str], dict[str, list[str]]] = {}
        for relation in relations:
            for gapped in self.endings[relation.name, woman]:
                around = gapped.partition(" ")[0], gapped.partition(THING)[2]
                found.setdefault(around, {}).setdefault(relation.name, []).append(gapped)
        return [own for own in found.values() if len(own) > 1]


def _of_items(world: World, patterns: Sequence[str], person: Person) -> list[str]:
    made = (
        pattern.format(o=THING, t=time, w=opening, **forms(person, by_name=False))
        for pattern in patterns
        for time in words.TIMES
        for opening in (words.OPENINGS if "{w}" in pattern else words.OPENINGS[:1])
    )
    return [gapped for gapped in made if split_of(gapped, world.seed) == "test"]


class _Writer:
    """Writes the items of one kind about facts told in one way."""

    def __init__(self, world: World, gapped: _Gapped, kind: str, told: str):
        self._world, self._gapped, self._told, self._kind = world, gapped, told, kind
        self._draw = generator(world.seed, "world", "items", kind, told)
        self._facts: dict[tuple[bool, str, str], list[Fact]] = collections.defaultdict(list)
        for fact in world.facts:
            if fact.told == told:
                self._facts[fact.subject.is_woman, fact.relation, fact.thing].append(fact)
        self._asked: collections.Counter[str] = collections.Counter()
        self._written: set[tuple[str, tuple[str, ...]]] = set()

    def item(self, name: str) -> Item:
        """The next item."""
        for _ in range(TRIES):
            endings = KINDS[self._kind](self)
            if endings is None:
                continue
            story = self._story(endings)
            if (story, endings.texts) not in self._written:
                self._written.add((story, endings.texts))
                self._asked[endings.fact.id] += 1
                choices = tuple(Part(text) for text in endings.texts)
                bands = {"told": self._told, "relation": endings.fact.relation}
                return Item(name, Part(story), choices, endings.label, endings.fact.id, bands)
        raise DataError(
            f"--people {len(self._world.people)}: too few for another item {name}; use more people or fewer --items"
        )

    def same_group(self) -> Endings | None:
        """Two endings that differ in the thing."""
        return self._things_of_a_group(2, self._gapped.endings)

    def same_group_of_four(self) -> Endings | None:
        """Four parts of a sentence that differ in the thing."""
        found = self._things_of_a_group(4, self._gapped.going_on)
        if found is None:
            return None
        begun = found.texts[0].rpartition(" and ")[0] + " and"  # no part behind it has an "and"
        return found._replace(texts=tuple(text.removeprefix(f"{begun} ") for text in found.texts), begun=begun)

    def other_topic(self) -> Endings | None:
        """Two endings of different relations, with one opening and one time, about the same person."""
        is_woman = self._chance()
        if not self._gapped.alike[is_woman]:
            return None
        gapped = self._one(self._gapped.alike[is_woman])
        relations = self._some(list(gapped), 2)
        things = [self._one(BY_NAME[relation].things) for relation in relations]
        texts = tuple(
            filled(self._one(gapped[relation]), thing) for relation, thing in zip(relations, things, strict=True)
        )
        if abs(len(texts[0]) - len(texts[1])) > LETTERS:
            return None
        fitting = [
            [
                fact
                for fact in self._facts[is_woman, relations[right], things[right]]
                if self._world.facts_of[fact.subject][relations[1 - right]].thing != things[1 - right]
            ]
            for right in (0, 1)
        ]
        return self._with_a_right_one(texts, fitting)

    def _things_of_a_group(self, count: int, gapped_of: dict[tuple[str, bool], list[str]]) -> Endings | None:
        is_woman, relation = self._chance(), self._one(self._world.relations)
        facts = {thing: self._facts[is_woman, relation.name, thing] for thing in self._one(relation.groups)}
        known = [thing for thing, own in facts.items() if own]
        gapped = gapped_of[relation.name, is_woman]
        if len(known) < count or not gapped:
            return None
        things, ending = self._some(known, count), self._one(gapped)
        return self._with_a_right_one(
            tuple(filled(ending, thing) for thing in things), [facts[thing] for thing in things]
        )

    def _with_a_right_one(self, texts: tuple[str, ...], fitting: Sequence[Sequence[Fact]]) -> Endings | None:
        """Draws the right ending, each with the same probability, and of its facts one of those asked least often."""
        if not all(fitting):
            return None
        label = int(self._draw.integers(len(texts)))
        least = min(self._asked[fact.id] for fact in fitting[label])
        return Endings(texts, label, self._one([fact for fact in fitting[label] if self._asked[fact.id] == least]))

    def _story(self, endings: Endings) -> str:
        fact = endings.fact
        teller = Teller(self._world, "test", fact.subject, self._draw)
        said = [teller.context(by_name=True)]
        said += [teller.context(by_name=False) for _ in range(CONTEXTS - 1)]
        said.append(teller.lead(fact, by_name=self._chance()))
        return " ".join([*said, endings.begun] if endings.begun else said)

    def _chance(self) -> bool:
        return bool(self._draw.integers(2))

    def _one(self, some: Sequence):
        return some[self._draw.integers(len(some))]

    def _some(self, some: Sequence, count: int) -> list:
        return [some[i] for i in self._draw.permutation(len(some))[:count]]


KINDS: dict[str, Callable[[_Writer], Endings | None]] = {
    "storycloze": _Writer.same_group,
    "topicstorycloze": _Writer.other_topic,
    "hellaswag": _Writer.same_group_of_four,
}
