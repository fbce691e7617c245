"""Which runs are of one system, and by what names they are chosen."""

import pytest

from lst_jax.core.errors import DataError
from lst_jax.jobs.sweeps.systems import Kind, by_name, chosen

KINDS = [
    Kind("base", 170_352, 400),
    Kind("lst", 1_188_992, 400),
    Kind("base", 170_352, 400),
    Kind("base", 962_176, 800),
]


def test_runs_that_differ_in_seeds_alone_are_of_one_system():
    assert by_name("abcd", KINDS) == {
        "base 0.17M 400 steps": ["a", "c"],
        "lst": ["b"],
        "base 0.962M 800 steps": ["d"],
    }
    assert by_name("abc", KINDS[:3]) == {"base": ["a", "c"], "lst": ["b"]}


def test_runs_are_chosen_by_labels_and_by_names():
    assert chosen(["lst", "base"], "abcd", KINDS) == ["b", "a", "c", "d"]
    assert chosen(["base 0.962M 800 steps"], "abcd", KINDS) == ["d"]
    with pytest.raises(
        DataError, match="--systems base 9M: no run has this label; use some of base 0.17M 400 steps, lst, base"
    ):
        chosen(["base 9M"], "abcd", KINDS)
