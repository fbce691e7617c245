"""docs/results.md keeps one section a measurement and never loses another's."""

import pytest

from lst_jax.core.errors import DataError
from lst_jax.report import results_file

ORIGIN = results_file.provenance(["bench", "data", "--records", "a b"], ("numpy",))


def headings(path):
    return [line for line in path.read_text().splitlines() if line.startswith("#")]


def test_a_section_is_replaced_where_it_stands(tmp_path):
    path = tmp_path / "docs" / "results.md"
    for name, body in [("One", "first"), ("Two", "### Part\n\nsecond"), ("One of them", "third"), ("One", "fourth")]:
        results_file.write_section(path, name, body, ORIGIN)
    assert headings(path) == ["# Results", "## One", "## Two", "### Part", "## One of them"]
    text = path.read_text()
    assert "first" not in text and text.index("fourth") < text.index("second") < text.index("third")
    results_file.write_section(path, "Two", "### Part\n\nsecond", ORIGIN)
    assert path.read_text() == text


def test_what_people_wrote_stays(tmp_path):
    path = tmp_path / "results.md"
    path.write_text("# Results\n\nA remark.\n\n## By hand\n\n- kept\n")
    results_file.write_section(path, "One", "x", ORIGIN)
    assert path.read_text().startswith("# Results\n\nA remark.\n\n## By hand\n\n- kept\n\n## One\n")


def test_another_document_is_refused(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# My project\n")
    with pytest.raises(DataError, match="README.md: does not start with '# Results'"):
        results_file.write_section(path, "One", "x", ORIGIN)
    assert path.read_text() == "# My project\n"


def test_a_section_says_where_its_numbers_come_from(tmp_path):
    path = tmp_path / "results.md"
    results_file.write_section(path, "One", "x", ORIGIN)
    line = path.read_text().split("## One\n\n")[1].splitlines()[0]
    assert "`lst bench data --records 'a b'`" in line
    for value in (ORIGIN["date"], ORIGIN["machine"]["cpu"], *ORIGIN["versions"].values()):
        assert str(value) in line
