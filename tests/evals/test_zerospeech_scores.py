"""Our numbers of sWUGGY and sBLIMP are those of the challenge's program, on made-up gold files and scores."""

import itertools

import numpy as np
import pytest
import zerospeech_oracle

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import registry, zerospeech
from lst_jax.evals import tasks
from lst_jax.evals.scorer import Amount

LEXICAL = "id,filename,voice,frequency,word,phones,length,correct"
SYNTACTIC = "id,filename,voice,type,subtype,transcription,correct"
FREQUENCIES = (0, 1, 4, 5, 19, 20, 99, 100, 5000, "")  # both sides of every edge, and a word without one


def write(path, header, lines):
    path.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
    return path


def judged(name, path, rng):
    """What we report of random scores, some of them equal; and the submission with these scores."""
    found = registry.read_task(name, path).items
    scores = [[float(s) for s in rng.integers(-4, 0, len(item.choices))] for item in found]
    amounts = [[Amount(-score, 1, 1, None) for score in own] for own in scores]
    return tasks.judge(found, amounts), zerospeech.submission(found, scores)


def shares(band):
    return {value: (rules["sum"]["groups"], pytest.approx(rules["sum"]["accuracy"])) for value, rules in band.items()}


@pytest.mark.parametrize("seed", range(20))
def test_lexical_scores_are_the_challenge_s(tmp_path, seed):
    rng = np.random.default_rng(seed)
    lines, name = [], map("f{}".format, itertools.count())
    for number in range(40):
        frequency, length = FREQUENCIES[number % len(FREQUENCIES)], int(rng.integers(2, 12))
        for voice in "abcd"[: int(rng.integers(1, 5))]:
            lines.append(f"{number},{next(name)},{voice},{frequency},brick,b r,{length},1")
            lines.append(f"{number},{next(name)},{voice},,,b l,{length},0")
    gold = write(tmp_path / "gold.csv", LEXICAL, [lines[i] for i in rng.permutation(len(lines))])
    ours, submission = judged("swuggy", gold, rng)
    theirs = zerospeech_oracle.lexical(gold, submission)
    assert ours["rules"]["sum"]["accuracy"] == pytest.approx(theirs["all"])
    assert ours["bands"]["vocabulary"]["known"]["sum"]["accuracy"] == pytest.approx(theirs["in_vocab"])
    assert shares(ours["bands"]["frequency"]) == theirs["by_frequency"] and len(theirs["by_frequency"]) == 5
    assert shares(ours["bands"]["length"]) == theirs["by_length"]
    assert list(ours["bands"]["length"]) == sorted(theirs["by_length"], key=int)


@pytest.mark.parametrize("seed", range(20))
def test_syntactic_scores_are_the_challenge_s_where_ids_begin_again_in_each_subtype(tmp_path, seed):
    rng = np.random.default_rng(seed)
    lines, name = [], map("f{}".format, itertools.count())
    for kind, subtype, number in itertools.product(("agreement", "binding"), ("one", "two"), range(6)):
        for voice in "abc"[: int(rng.integers(1, 4))]:
            lines.append(f"{number},{next(name)},{voice},{kind},{subtype},the cat,1")
            lines.append(f"{number},{next(name)},{voice},{kind},{subtype},a cats,0")
    gold = write(tmp_path / "gold.csv", SYNTACTIC, [lines[i] for i in rng.permutation(len(lines))])
    ours, submission = judged("sblimp", gold, rng)
    theirs = zerospeech_oracle.syntactic(gold, submission)
    assert ours["rules"]["sum"]["groups"] == 24
    assert ours["rules"]["sum"]["accuracy"] == pytest.approx(theirs["all"])
    assert shares(ours["bands"]["phenomenon"]) == theirs["by_type"]
    assert len(ours["bands"]["subtype"]) == 2


def test_the_oracle_on_a_file_that_is_scored_by_hand(tmp_path):
    """Item 1: right, tied -> 0.75, in [1, 5). Item 2: wrong -> 0, oov. Item 3: right -> 1, in [5, 20)."""
    gold = write(
        tmp_path / "gold.csv",
        LEXICAL,
        [
            *("1,a,v,4,x,x,3,1", "1,b,v,4,y,y,3,0", "1,c,w,4,x,x,3,1", "1,d,w,4,y,y,3,0"),
            *("2,e,v,0,x,x,3,1", "2,f,v,0,y,y,3,0", "3,g,v,5,x,x,4,1", "3,h,v,5,y,y,4,0"),
        ],
    )
    scores = "a -1\nb -2\nc -1\nd -1\ne -3\nf -2\ng -1\nh -9\n"
    assert zerospeech_oracle.lexical(gold, scores) == {
        "all": pytest.approx(1.75 / 3),
        "in_vocab": pytest.approx(0.875),
        "by_frequency": {"1-5": (1, 0.75), "oov": (1, 0.0), "6-20": (1, 1.0)},
        "by_length": {"3": (2, 0.375), "4": (1, 1.0)},
    }


def test_a_pair_is_one_right_and_one_wrong_line_of_type_subtype_id_and_voice(tmp_path):
    lines = ["7,a,v,t,d,the cat,1", "7,b,v,t,e,a cats,0"]
    with pytest.raises(DataError, match="line 2: type t, subtype d, id 7, voice v has one line; each must have one"):
        registry.read_task("sblimp", write(tmp_path / "gold.csv", SYNTACTIC, lines))
    lines = ["7,a,v,t,d,the cat,1", "7,b,v,t,d,the cats,1"]
    with pytest.raises(
        DataError, match="line 3: correct=1: each type, subtype, id and voice must have one line with 1"
    ):
        registry.read_task("sblimp", write(tmp_path / "gold.csv", SYNTACTIC, lines))
