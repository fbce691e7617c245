"""The lexicon of the made-up world: names, things, and the patterns of its sentences. All of it is lower case.

Slots of a pattern:
    {s}  the subject, a name or "she" / "he"          {o}  the thing, one of the relation's
    {m}  the same person as an object: "her" / "him"  {r}  who receives the thing, by name (relation gift alone)
    {p}  "her" / "his"                                {q}  another person, by name
    {t}  one of TIMES                                 {w}  one of OPENINGS

The things of a group have equal numbers of letters, and equal numbers of phones in the CMU dictionary. The endings of an
item differ in one of them alone. No word of the patterns is a thing.
"""

import dataclasses
from collections.abc import Sequence

WOMEN = tuple("anna emma julia maria helen karen laura nancy susan wendy diana betty".split())
MEN = tuple("adam david henry jacob kevin oscar peter simon tony victor walter brian".split())
SURNAMES = tuple(
    "allen bates blake brown carter clark cohen davis evans foster garcia grant "
    "hayes hughes jones kelly lopez martin moore nelson parker quinn scott turner".split()
)
TIMES = (
    "in the morning",
    "in the evening",
    "at noon",
    "at night",
    "on sunday",
    "on monday",
    "on tuesday",
    "on friday",
    "in spring",
    "in summer",
    "in autumn",
    "in winter",
    "after work",
    "before dawn",
    "after the rain",
    "every week",
    "all year",
    "now and then",
    "once more",
    "as always",
)
OPENINGS = ("then", "so", "later", "soon")
RISINGS = ("{s} got up {t} and", "{s} came in {t} and", "{s} stood up {t} and", "{s} took a rest {t} and")
CONTEXTS = (
    "{s} woke up {t}",
    "{s} walked down the road {t}",
    "{s} sat by the fire {t}",
    "{s} sang a song {t}",
    "{s} looked out of the window {t}",
    "{s} told a story {t}",
    "{s} felt happy {t}",
    "{s} met {q} {t}",
    "{s} talked with {q} {t}",
    "{s} waited for {q} {t}",
    "{s} read a letter from {q} {t}",
    "{q} came to see {m} {t}",
)


@dataclasses.dataclass(frozen=True)
class Relation:
    """What may be true of a person, and how it is said.

    `groups`: the things, six to a group. `told`: sentences that say it. `leads`: sentences that come before it and do not
    say it. `endings`: four words that end a story, behind an opening and before a time. `goes_on`: what follows one of
    RISINGS in the same sentence.
    """

    name: str
    groups: tuple[tuple[str, ...], ...]
    told: tuple[str, ...]
    leads: tuple[str, ...]
    endings: tuple[str, ...]
    goes_on: tuple[str, ...]

    @property
    def things(self) -> tuple[str, ...]:
        """The things of all groups."""
        return tuple(thing for group in self.groups for thing in group)

    def ending_patterns(self) -> list[str]:
        """Whole sentences that may be the ending of a story."""
        return [f"{{w}} {ending} {{t}}" for ending in self.endings]

    def going_on_patterns(self) -> list[str]:
        """Whole sentences of which the part behind "and" may be an ending."""
        return [f"{rising} {rest}" for rising in RISINGS for rest in self.goes_on]

    def fact_patterns(self) -> list[str]:
        """Every sentence that says it."""
        return [*self.told, *self.ending_patterns(), *self.going_on_patterns()]


def _groups(*lines: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split()) for line in lines)


RELATIONS: Sequence[Relation] = (
    Relation(
        "food",
        _groups("soup rice cake meat eggs peas", "bread toast cream fruit steak chips"),
        (
            "{s} eats some {o} {t}",
            "{s} likes to eat {o} {t}",
            "{t} {s} has {o} for a meal",
            "{t} {s} buys some {o}",
            "there is always {o} for {m} {t}",
            "it is {o} that {s} eats {t}",
        ),
        ("{s} was hungry {t}", "{s} sat down at the table {t}", "{s} was ready for a meal {t}"),
        ("{s} ate some {o}", "{s} cooked some {o}"),
        ("ate some {o} with {p} friends", "asked for some {o} at the table"),
    ),
    Relation(
        "animal",
        _groups("goat duck deer hawk lamb toad", "pig hen dog cat rat ram"),
        (
            "{s} keeps a {o} {t}",
            "{s} plays with a {o} {t}",
            "{t} {s} goes out with a {o}",
            "{t} {s} looks after a {o}",
            "a {o} runs behind {m} {t}",
            "it is a {o} that {s} keeps {t}",
        ),
        ("{s} went to see the pet {t}", "{s} heard the pet {t}", "{s} was alone with the pet {t}"),
        ("{s} fed the {o}", "{s} called the {o}"),
        ("fed the {o} behind the house", "looked for the {o} in the yard"),
    ),
    Relation(
        "tool",
        _groups("rake rope hook nail file plow", "shovel needle chisel mallet bucket sickle"),
        (
            "{s} works with a {o} {t}",
            "{s} needs a {o} {t}",
            "{t} {s} cleans a {o}",
            "{t} {s} takes a {o} along",
            "a {o} is the tool for {m} {t}",
            "it is a {o} that {s} uses {t}",
        ),
        ("{s} had to repair something {t}", "{s} opened the tool box {t}", "{s} had no tool in hand {t}"),
        ("{s} used the {o}", "{s} took the {o}"),
        ("used the {o} for an hour", "put the {o} back in the box"),
    ),
    Relation(
        "home",
        _groups("mill hill cave lake dock pool", "farm fort camp barn port park"),
        (
            "{s} lives at the {o} {t}",
            "{s} sleeps at the {o} {t}",
            "{t} {s} stays at the {o}",
            "{t} {s} is at home at the {o}",
            "the {o} is home for {m} {t}",
            "it is at the {o} that {s} lives {t}",
        ),
        ("{s} was tired and went home {t}", "{s} was on the way home {t}", "{s} wanted to sleep at home {t}"),
        ("{s} reached the {o}", "{s} entered the {o}"),
        ("went home to the {o} before dark", "saw the lights of the {o} from afar"),
    ),
    Relation(
        "clothes",
        _groups("coat robe gown hood veil suit", "dress skirt boots cloak socks jeans"),
        (
            "{s} wears the {o} {t}",
            "{s} likes to wear {p} {o} {t}",
            "{t} {s} puts on the {o}",
            "{t} {s} dances in the {o}",
            "you see {m} in the {o} {t}",
            "it is in the {o} that {s} goes out {t}",
        ),
        ("{s} looked for something to wear {t}", "{s} went to a dance {t}", "{s} opened the wardrobe {t}"),
        ("{s} wore the {o}", "{s} washed the {o}"),
        ("put on the {o} for the dance", "looked fine in the {o} at the dance"),
    ),
    Relation(
        "plant",
        _groups("rose fern moss pine palm reed", "tulip maple lotus aspen basil pansy"),
        (
            "{s} grows the {o} {t}",
            "{s} cares for the {o} {t}",
            "{t} {s} waters the {o}",
            "{t} {s} cuts the {o}",
            "the {o} grows for {m} {t}",
            "it is the {o} that {s} grows {t}",
        ),
        ("{s} went out to the garden {t}", "{s} saw that the ground was dry {t}", "{s} liked green leaves {t}"),
        ("{s} watered the {o}", "{s} planted the {o}"),
        ("watered the {o} beside the wall", "smelled the {o} in the garden"),
    ),
    Relation(
        "gift",
        _groups("book ring doll kite ball vase", "ribbon button bottle kettle locket puzzle"),
        (
            "{s} gave the {o} to {r} {t}",
            "{s} gave {r} the {o} {t}",
            "{t} {s} sent the {o} to {r}",
            "{t} {s} brought {r} the {o}",
            "{r} got the {o} from {m} {t}",
            "it was the {o} that {s} gave to {r} {t}",
        ),
        (
            "{s} wanted to give {r} something {t}",
            "{s} thought of {r} and of a present {t}",
            "{s} went to the birthday of {r} {t}",
        ),
        ("{s} wrapped the {o}", "{s} packed the {o}"),
        ("wrapped the {o} as a present", "gave the {o} away with a smile"),
    ),
    Relation(
        "trade",
        _groups("farmer dancer hunter barber doctor driver", "tailor weaver potter sailor singer miller"),
        (
            "{s} works as a {o} {t}",
            "{s} is known as a {o} {t}",
            "{t} {s} earns money as a {o}",
            "{t} {s} wants to be a {o}",
            "they call {m} the {o} {t}",
            "it is as a {o} that {s} works {t}",
        ),
        ("{s} had to earn money {t}", "{s} learned a trade {t}", "{s} was asked about the trade {t}"),
        ("{s} became a {o}", "{s} was a {o}"),
        ("worked as a {o} until night", "spoke as a {o} about the trade"),
    ),
)
