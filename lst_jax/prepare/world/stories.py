"""Documents that tell the facts of the made-up world: stories about one person, and plain lists of facts.

Document n of a modality and a split is a function of the world and of n alone. Everyone's facts of a modality are told in
turn, so that after any number of documents no fact of it has been told more often than another by more than one.

Example: "anna bates woke up on friday. she was hungry at noon. then she ate some soup at noon. she lives at the mill
all year."
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from lst_jax.data.rng import generator, permuted
from lst_jax.prepare.world.facts import Fact, Modality, World
from lst_jax.prepare.world.sentences import Split, Teller

FACTS = 2  # of a document
LEAD_SHARE = 0.5  # of the facts of a story come after a lead
NAME_SHARE = 0.25  # of a story's sentences after its first one name the person again


class Story(NamedTuple):
    """A document's text, and the facts that it tells."""

    text: str
    facts: tuple[Fact, ...]

    @property
    def words(self) -> int:
        """The number of its words."""
        return len(self.text.split())


def stories(world: World, modality: Modality, split: Split, words: int, list_share: float) -> Iterator[Story]:
    """The first documents of a modality and a split that have at least `words` words together."""
    told = 0
    for number in itertools.count():
        if told >= words:
            return
        story = make_story(world, modality, split, number, list_share)
        told += story.words
        yield story


def make_story(world: World, modality: Modality, split: Split, number: int, list_share: float) -> Story:
    """Document `number`, which is a list with the probability `list_share`."""
    turn, place = divmod(number, len(world.people))
    person = world.people[permuted(place, len(world.people), world.seed, "world", modality, split, turn)]
    own = [fact for fact in world.facts_of[person].values() if fact.is_told_in(modality)]
    turns = len(own) // FACTS
    order = generator(world.seed, "world", modality, split, "order", person.name, turn // turns).permutation(len(own))
    chosen = tuple(own[i] for i in order[turn % turns * FACTS :][:FACTS])
    draw = generator(world.seed, "world", modality, split, "story", number)
    teller = Teller(world, split, person, draw)
    if draw.random() < list_share:
        return Story(" ".join(teller.tell(fact, by_name=True) for fact in chosen), chosen)
    said = [teller.context(by_name=True)]
    for fact in chosen:
        if draw.random() < LEAD_SHARE:
            said.append(teller.lead(fact, by_name=bool(draw.random() < NAME_SHARE)))
        said.append(teller.tell(fact, by_name=bool(draw.random() < NAME_SHARE)))
    return Story(" ".join(said), chosen)
