"""Items of a world: true, matched, and not to be guessed from the endings alone."""

import collections
import json
import math

import pytest
import world_cases

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import registry as tasks
from lst_jax.evals.accuracy import correctness, wilson_interval
from lst_jax.prepare.world import facts, items

each_kind = pytest.mark.parametrize("kind", world_cases.KINDS)
SURE = 3.29  # standard deviations: one test in a thousand fails by chance, and these are seeded


def features(text):
    tokens = ["^", *text.replace(".", " .").split()]
    return [*tokens, *map(" ".join, zip(tokens, tokens[1:], strict=False)), len(text)]


def naive_bayes_accuracy(some):
    """(right, items) of a naive Bayes classifier of n-grams and length, which learns from every other item's endings."""
    counts = {True: collections.Counter(), False: collections.Counter()}
    for item in some[::2]:
        for number, choice in enumerate(item["choices"]):
            counts[number == item["label"]].update(features(choice["text"]))
    total = {right: sum(own.values()) + 1 for right, own in counts.items()}

    def score(text):
        return sum(
            math.log((counts[True][f] + 0.5) / total[True]) - math.log((counts[False][f] + 0.5) / total[False])
            for f in features(text)
        )

    asked = some[1::2]
    return sum(correctness([score(c["text"]) for c in item["choices"]], item["label"]) for item in asked), len(asked)


@each_kind
def test_endings_alone_do_not_tell_the_right_one(world, kind):
    some = world.tasks[kind]
    right, count = naive_bayes_accuracy(some)
    low, high = wilson_interval(right, count, SURE)
    assert low < 1 / len(some[0]["choices"]) < high, right / count


@each_kind
def test_the_classifier_would_see_endings_that_tell(world, kind):
    def first_of_the_alphabet(item):  # a weak sign: of two things always the same one is right
        return min(range(len(item["choices"])), key=lambda number: item["choices"][number]["text"])

    leaky = [item | {"label": first_of_the_alphabet(item)} for item in world.tasks[kind]]
    right, count = naive_bayes_accuracy(leaky)
    assert wilson_interval(right, count, SURE)[0] > 1 / len(leaky[0]["choices"])


@each_kind
def test_the_commonest_or_the_shortest_ending_is_right_by_chance(world, kind):
    said = collections.Counter(w for d in [*world.speech, *world.text] for w in d["text"].replace(".", "").split())
    for score in (lambda text: sum(math.log(said[w]) for w in text.strip(".").split()), lambda text: -len(text)):
        scored = [([score(choice["text"]) for choice in item["choices"]], item["label"]) for item in world.tasks[kind]]
        differing = [(own, label) for own, label in scored if len(set(own)) == len(own)]
        if differing:
            low, high = wilson_interval(sum(correctness(*one) for one in differing), len(differing), SURE)
            assert low < 1 / len(differing[0][0]) < high


@each_kind
def test_there_are_as_many_items_of_each_way_with_their_bands_and_groups(world, kind):
    by_id = {fact["id"]: fact for fact in world.facts}
    counts = collections.Counter(item["bands"]["told"] for item in world.tasks[kind])
    assert counts == dict.fromkeys(facts.TOLD, 250)
    for item in world.tasks[kind]:
        fact = by_id[item["group"]]
        assert item["bands"] == {"told": fact["told"], "relation": fact["relation"]}
    assert len({item["id"] for item in world.tasks[kind]}) == len(world.tasks[kind])
    asked = collections.Counter(item["group"] for item in world.tasks[kind])
    assert len(asked) > 0.6 * len(world.facts)  # most facts are asked about


@each_kind
def test_one_ending_is_true_and_the_others_are_false_of_the_story_s_person(world, kind):
    true = {(fact["subject"], fact["thing"]) for fact in world.facts}
    thing_of, things = {f["id"]: f["thing"] for f in world.facts}, {f["thing"] for f in world.facts}
    for item in world.tasks[kind]:
        subject = item["group"].split("/")[1].replace("-", " ")
        named = [next(w for w in c["text"].strip(".").split() if w in things) for c in item["choices"]]
        assert [(subject, thing) in true for thing in named] == [n == item["label"] for n in range(len(named))]
        assert named[item["label"]] == thing_of[item["group"]]
        assert subject in item["prompt"]["text"] and not things & set(item["prompt"]["text"].replace(".", "").split())


@each_kind
def test_endings_are_matched(world, kind):
    relation_of = {fact["thing"]: fact["relation"] for fact in world.facts}
    for item in world.tasks[kind]:
        texts = [choice["text"] for choice in item["choices"]]
        assert len(set(texts)) == len(texts) == (4 if kind == "hellaswag" else 2)
        assert len({len(text.split()) for text in texts}) == 1
        assert max(map(len, texts)) - min(map(len, texts)) <= (kind == "topicstorycloze")
        relations = {relation_of[w] for text in texts for w in text.strip(".").split() if w in relation_of}
        assert len(relations) == (2 if kind == "topicstorycloze" else 1)


@each_kind
def test_lst_evaluate_reads_them(world, kind):
    task = tasks.read_task(f"world-{kind}", world.path / "tasks" / f"{kind}.jsonl")
    assert len(task.items) == 1000 and task.items[0].group == world.tasks[kind][0]["group"]


def test_a_world_too_small_for_its_items_says_so(monkeypatch):
    monkeypatch.setattr(items, "TRIES", 5)
    with pytest.raises(DataError, match="--people 48: too few for another item hellaswag-text-.*; use more people or"):
        list(items.make_items(facts.make_world(48, 0), "hellaswag", 1000))


def test_items_depend_on_their_kind_and_way_alone(world):
    few = list(items.make_items(facts.make_world(96, 0), "storycloze", 3))
    first = [item for item in world.tasks["storycloze"] if item["id"].endswith(("00000", "00001", "00002"))]
    assert json.dumps([i.prompt.text for i in few]) == json.dumps([i["prompt"]["text"] for i in first])
