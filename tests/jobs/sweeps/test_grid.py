"""Overlays and their combinations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lst_jax.core.errors import ConfigError
from lst_jax.jobs.sweeps.grid import chain, each, product, zipped


def test_the_last_list_of_a_product_changes_fastest():
    assert product(each("a", 1, 2), each("b", 3, 4)) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
        {"a": 2, "b": 4},
    ]


def test_zipped_lists_go_side_by_side_and_chained_ones_one_after_the_other():
    assert zipped(each("a", 1, 2), each("b", 3, 4)) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert chain(each("a", 1), each("b", 2, 3)) == [{"a": 1}, {"b": 2}, {"b": 3}]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_product_has_every_combination_once(lengths):
    found = product(*(each(f"field{i}", *range(n)) for i, n in enumerate(lengths)))
    expected = 1
    for n in lengths:
        expected *= n
    assert len({tuple(sorted(o.items())) for o in found}) == len(found) == expected
    assert all(len(o) == len(lengths) for o in found)


def test_a_field_set_twice_is_refused():
    with pytest.raises(ConfigError, match="sweep: seed=1: another list of the combination sets it too; leave it out"):
        product(each("seed", 0), each("seed", 1))


def test_zipped_lists_of_other_lengths_are_refused():
    with pytest.raises(ConfigError, match="sweep: zipped lists have 2, 3 overlays; give each as many"):
        zipped(each("a", 1, 2), each("b", 1, 2, 3))
