"""Tables for a terminal."""

from lst_jax.core.text_table import columns


def test_columns_are_aligned_and_rows_may_end_early():
    assert columns([["run", "n"], ["a", "1,000"], ["b"]]) == ["  run      n", "  a    1,000", "  b"]


def test_a_cell_stays_one_line_without_escapes():
    assert columns([["a\nb\x1b[2J", "1"]]) == ["  a\\nb\\x1b[2J  1"]
