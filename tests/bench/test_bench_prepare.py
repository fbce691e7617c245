"""`lst bench prepare` measures what it says, and writes it down."""

import pytest

from lst_jax.bench import prepare


@pytest.fixture(scope="module")
def measured():
    return prepare.measure([30, 2500], 1)


def test_every_line_becomes_a_record(measured):
    rows = measured["measured"]
    assert [(one["kind"], one["lines"], one["records"]) for one in rows] == [
        (kind, lines, lines) for kind in ("speech", "text") for lines in (30, 2500)
    ]
    assert all(0 < one["first_part_sec"] <= one["seconds"] and one["merge_sec"] < one["seconds"] for one in rows)
    assert all(one["shards"] == 1 and 20e6 < one["peak_bytes"] < 1e9 for one in rows)


def test_the_page_has_a_row_for_each_and_an_estimate(measured):
    page = prepare.markdown(measured)
    assert page.count("\n| speech |") == page.count("\n| text |") == 2
    assert "At this speed 50,000,000 lines of speech are" in page and "about 75 MB" in page
