"""What the documents point at is there: files, headings, and every room."""

import configparser
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PATH = re.compile(r"`((?:lst_jax|tests|configs|launch|docs|corpora)/[\w./-]+)`")


def layers() -> list[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser["importlinter:contract:layers"]["layers"].split()


def anchors(path: pathlib.Path) -> set[str]:
    """The names by which a forge links to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_paths_lead_somewhere(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("http"):
            name, _, anchor = target.partition("#")
            path = document.parent / name if name else document
            assert path.exists(), f"{document.name} links to {target}"
            assert not anchor or anchor in anchors(path), f"{document.name} links to {target}"
    if document.name != "results.md":  # which tells of the past
        for path in PATH.findall(text):
            if "NAME" in path:
                continue
            assert (ROOT / path).exists(), f"{document.name} names {path}"


def test_readme_has_a_line_for_every_room_from_the_top_down():
    (tree,) = re.findall(r"^    lst_jax/ .*\n((?:      \w+/ .*\n)+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert re.findall(r"^      (\w+)/ ", tree, re.MULTILINE) == layers()


def test_architecture_shows_every_room_from_the_top_down():
    picture = (ROOT / "docs/architecture.md").read_text().split("## The rooms")[1].split("## Start here")[0]
    assert re.findall(r"^    .{19}([a-z]+) ", picture, re.MULTILINE) == layers()


def test_the_tour_leads_to_files():
    tour = (ROOT / "docs/architecture.md").read_text().split("## The tour")[1].split("## Decisions")[0]
    rows = [line for line in tour.splitlines() if line.startswith("| ") and "feature" not in line]
    assert len(rows) == 10
    for row in rows:
        found = row.split("|")[3]
        for path in re.findall(r"`([\w/]+/[\w/]+\.py)`", found):
            assert (ROOT / "lst_jax" / path).is_file(), row
