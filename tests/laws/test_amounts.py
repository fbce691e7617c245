"""Cells as people write numbers: read as meant, or refused."""

import pytest

from lst_jax.laws import amounts


@pytest.mark.parametrize(
    "cell, value",
    [
        ("1.5B", 1.5e9),
        ("300M", 3e8),
        ("300 m", 3e8),
        ("2.5K", 2500),
        ("1.4T tokens", 1.4e12),
        ("1.5 billion params", 1.5e9),
        ("70 Mio", None),
        ("7e9", 7e9),
        ("1E+21 FLOPs", 1e21),
        ("5.76 ZFLOP", 5.76e21),
        ("12 GFLOPs", 1.2e10),
        ("70,000,000", 7e7),
        ("70 000 000", 7e7),
        ("70_000_000", 7e7),
        ("70\u202f000\u00a0000", 7e7),
        ("1,234.5", 1234.5),
        (" 2.31 ", 2.31),
        ("1 2", None),
        ("1,23", None),
        ("1.2.3", None),
        ("7e9B", None),
        ("12 GB", None),
        ("95%", None),
        ("1e21 FLOP/s", None),
        ("0x10", None),
        ("٣", None),
        (True, None),
        ([1], None),
        ("", None),
    ],
)
def test_a_cell_is_the_number_that_is_meant_or_none(cell, value):
    if value is None:
        with pytest.raises(ValueError):
            amounts.amount(cell, ".")
    else:
        assert amounts.amount(cell, ".") == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "cell, value", [("2,31", 2.31), ("1.234.567,8", 1234567.8), ("1,5B", 1.5e9), ("2.310", 2310), ("2.31", None)]
)
def test_a_cell_with_a_decimal_comma(cell, value):
    if value is None:
        with pytest.raises(ValueError):
            amounts.amount(cell, ",")
    else:
        assert amounts.amount(cell, ",") == pytest.approx(value)


@pytest.mark.parametrize(
    "cells, commas_part, mark",
    [
        (["2.31", "7e7"], True, "."),
        (["2,31", "7e7"], True, ","),
        (["1,5B"], True, ","),
        (["70,000,000", "2.310"], True, "."),
        (["1,234.5"], True, "."),
        (["1.234,5", "2.310"], False, ","),
        (["2,310"], False, ","),
        (["70000000"], False, "."),
        (["0,123"], True, ","),
    ],
)
def test_the_decimal_mark_is_what_all_cells_agree_on(cells, commas_part, mark):
    assert amounts.decimal_mark(cells, commas_part) == mark


@pytest.mark.parametrize(
    "cells, commas_part, message",
    [
        (["2.31", "2,31"], False, "'2.31' has a decimal dot and '2,31' a decimal comma"),
        (["2,310"], True, "'2,310' may have a decimal comma or a comma between thousands; say --decimal"),
        (["2,310", "2.310"], False, "'2,310' may have a decimal comma"),
    ],
)
def test_a_mark_that_could_be_either_is_refused(cells, commas_part, message):
    with pytest.raises(ValueError, match=message):
        amounts.decimal_mark(cells, commas_part)


def test_what_says_that_there_is_no_number_is_missing():
    assert all(map(amounts.is_missing, ("", " NaN ", "N/A", "null", None, float("nan"), float("inf"), "-inf", "–")))
    assert not any(map(amounts.is_missing, ("0", 0, "1.5B", False, "x")))
