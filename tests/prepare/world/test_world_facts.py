"""The facts of a world and the documents that tell them: each in its own way, equally often, in no one else's sentences."""

import collections
import itertools
import pathlib

import pytest
import world_cases

from lst_jax.core.errors import DataError
from lst_jax.data.rng import generator
from lst_jax.prepare.world import facts, sentences, words

pocketsphinx = pytest.importorskip("pocketsphinx")


def documents(world, modality, split):
    return [line["text"] for line in getattr(world, modality) if line["split"] == split]


def test_each_way_of_telling_has_a_quarter_of_everyone_s_facts(world):
    by_person = collections.defaultdict(list)
    for fact in world.facts:
        by_person[fact["subject"]].append(fact["told"])
    assert len(by_person) == 96
    assert all(sorted(told) == sorted(facts.TOLD * 2) for told in by_person.values())


def test_each_thing_is_equally_frequent_in_each_way_for_women_and_for_men(world):
    counts = collections.Counter((f["thing"], f["told"], f["subject"].split()[0] in words.WOMEN) for f in world.facts)
    assert set(counts.values()) == {1}
    assert len(counts) == 96 * 4 * 2  # things, ways, women and men


def test_the_facts_differ_by_seed_and_by_nothing_else():
    one, same, other = (facts.make_world(64, seed) for seed in (1, 1, 2))
    assert one.facts == same.facts and one.facts != other.facts
    assert [f.id for f in one.facts] == [f.id for f in other.facts]


@pytest.mark.parametrize("people", [-16, 32, 56, 592])
def test_people_that_cannot_be_shared_out_are_refused(people):
    with pytest.raises(DataError, match=f"--people {people}: must be a multiple of 16 from 48 to 576; write for"):
        facts.make_world(people, 0)


def test_gifts_go_round(world):
    received = [fact["to"] for fact in world.facts if fact["relation"] == "gift"]
    assert sorted(received) == sorted({fact["subject"] for fact in world.facts})
    assert all(fact["to"] != fact["subject"] for fact in world.facts)


@pytest.mark.parametrize("modality", facts.MODALITIES)
def test_documents_tell_what_is_told_there_and_nothing_else(world, modality):
    told = {(f["subject"], f["thing"]) for f in world.facts if f["told"] in (modality, "both")}
    names, things = {f["subject"] for f in world.facts}, {f["thing"] for f in world.facts}
    seen = set()
    for line in getattr(world, modality):
        tokens = line["text"].replace(".", "").split()
        people = {" ".join(pair) for pair in itertools.pairwise(tokens)} & names
        for thing in set(tokens) & things:
            true = {(person, thing) for person in people} & told
            assert true, (line["text"], thing)
            seen |= true
    assert seen == told


@pytest.mark.parametrize("modality", facts.MODALITIES)
def test_facts_are_told_equally_often(world, modality):
    tellings = {f["id"]: f["tellings"][modality] for f in world.facts if f["told"] in (modality, "both")}
    assert max(tellings.values()) - min(tellings.values()) <= 1 and min(tellings.values()) >= 1
    assert all(f["tellings"][modality] == 0 for f in world.facts if f["id"] not in tellings)
    things = {fact["thing"] for fact in world.facts}
    mentions = sum(word in things for d in documents(world, modality, "train") for word in d.replace(".", "").split())
    assert mentions == sum(tellings.values())


def test_no_sentence_is_in_two_splits(world):
    sentences = {
        split: {
            s for m in facts.MODALITIES for d in documents(world, m, split) for s in world_cases.split_into_sentences(d)
        }
        for split in ("train", "valid")
    }
    sentences["test"] = {s for task in world.tasks.values() for item in task for s in world_cases.sentences_of(item)}
    assert all(len(some) > 50 for some in sentences.values())
    for one, other in itertools.combinations(sentences.values(), 2):
        assert not one & other


def test_a_fact_is_told_in_many_words():
    one = facts.make_world(48, 0)
    for fact in one.facts[:8]:
        teller = sentences.Teller(one, "train", fact.subject, generator("many", fact.id))
        told = [teller.tell(fact, by_name=number % 2 == 0) for number in range(60)]
        assert len(set(told)) > 50 and all(f" {fact.thing}" in f" {sentence.strip('.')}" for sentence in told)


def test_the_vocabulary_is_a_few_hundred_words(world):
    spoken = {word for line in [*world.speech, *world.text] for word in line["text"].replace(".", "").split()}
    assert 200 < len(spoken) < 400 and all(word.isalpha() and word.islower() for word in spoken)


def test_things_are_told_apart_and_matched_within_their_group():
    dictionary = pathlib.Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    phones = {line.split()[0]: len(line.split()) - 1 for line in dictionary.read_text().splitlines()}
    things = [thing for relation in words.RELATIONS for thing in relation.things]
    assert len(things) == len(set(things)) == 96
    for group in (group for relation in words.RELATIONS for group in relation.groups):
        assert len(group) == 6 and len({len(thing) for thing in group}) == 1
        assert len({phones[thing] for thing in group}) == 1, group


def test_no_other_word_is_a_thing():
    patterns = [p for r in words.RELATIONS for p in (*r.fact_patterns(), *r.leads)]
    fixed = [*words.WOMEN, *words.MEN, *words.SURNAMES, *words.TIMES, *words.OPENINGS, *words.CONTEXTS, *patterns]
    things = {thing for relation in words.RELATIONS for thing in relation.things}
    assert not things & {word for one in fixed for word in one.split()}
    assert len({*words.WOMEN, *words.MEN, *words.SURNAMES}) == 48


def test_endings_have_four_words_and_what_goes_on_has_no_and():
    for relation in words.RELATIONS:
        assert all(len(ending.split()) == 4 and ending.count("{o}") == 1 for ending in relation.endings)
        assert not any(" and " in f" {rest} " for rest in relation.goes_on)
        assert all(pattern.count("{o}") == 1 for pattern in relation.fact_patterns())
        assert not any("{o}" in lead for lead in relation.leads)
