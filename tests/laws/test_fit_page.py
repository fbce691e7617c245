"""The page of a fit holds every number of it, what was refused and why, and nothing from elsewhere."""

import html

import numpy as np
import points_file
import pytest

from lst_jax import __version__
from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.bench.synthetic_runs import HOFFMANN
from lst_jax.laws.fit_files import fit_files
from lst_jax.laws.fit_page import write_page

TABLES = [("Runs <here>", ("run", "of", "loss"), [("a<b", "LST", "2.41"), ("c", "-", "-")]), ("None", ("x",), [])]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Base's text law, and an LST with too few runs for one."""
    folder = tmp_path_factory.mktemp("fit")
    n, d = synthetic.iso_flop(np.geomspace(6e18, 3e21, 4), 5, 6)
    values = synthetic.noisy(synthetic.loss(n, d, **HOFFMANN), 1e-3, np.random.default_rng(0))
    points = synthetic.points(n, d, values) + synthetic.points(n[:3], d[:3], values[:3], "lst")
    path = points_file.write(folder / "points.jsonl", points)
    return folder, *fit_files(
        path,
        folder / "out",
        ("text",),
        100,
        predictions=[(n.max(), d.max())],
        far=True,
        units={"loss_text": "nats per text token"},
    )


def test_the_files_of_a_fit_are_written_and_returned(fitted):
    folder, document, pictures = fitted
    names = {path.name for path in (folder / "out").iterdir()}
    drawn = ["loss_flops", "residuals_text", "isoflop_text"]
    assert names == {"fit.json", "fit.txt", *(f"{name}.{kind}" for name in drawn for kind in ("png", "svg"))}
    assert [path.name for path, caption in pictures if caption] == [f"{name}.png" for name in drawn]
    assert "nats per text token" in (folder / "out" / "loss_flops.svg").read_text()
    again, none = fit_files(folder / "points.jsonl", None, ("text",), 100, predictions=[(3e7, 1e10)])
    assert none == [] and again["fits"][0]["numbers"] == document["fits"][0]["numbers"]


def test_the_page_has_tables_numbers_reasons_pictures_method_and_versions(fitted, tmp_path):
    _, document, pictures = fitted
    write_page(tmp_path / "page.html", "A & B", "note <1>", TABLES, document, pictures)
    page = (tmp_path / "page.html").read_text()
    text = html.unescape(page)
    assert "<h1>A &amp; B</h1>" in page and "note &lt;1&gt;" in page and "Runs &lt;here&gt;" in page
    assert "<td>a&lt;b</td><td>LST</td><td class=n>2.41</td>" in page
    for fit in document["fits"]:
        if "refused" in fit:
            assert f"Refused: {fit['refused']}." in text
        for number in fit.get("numbers", {}).values():
            assert f">{number['value']:.4g}</td><td class=n>[{number['low']:.4g}, {number['high']:.4g}]<" in page
    assert {fit["kind"] for fit in document["fits"] if "refused" in fit} == {
        "law",
        "isoflop",
        "joint",
        "multiplier",
        "gap",
    }
    assert "predicted at N=" in text and "lst_jax " + __version__ in text and document["points"]["sha256"] in text
    assert page.count("data:image/png;base64,") == len(pictures) == 3
    assert all(caption in text for _, caption in pictures)
    assert "100 repeats, seed 0" in text and "How the intervals were made" in text
    assert "src='http" not in page and "href" not in page


def test_columns_of_numbers_are_aligned_right_and_others_are_not(fitted, tmp_path):
    _, document, _ = fitted
    rows = [("a1", "-0.5", "≥ 3", "1 of 2", "", "2 x"), ("b", "-", "4%", "3", "-", "x")]
    write_page(tmp_path / "page.html", "t", "n", [("T", tuple("abcdef"), rows)], document, [])
    line = (tmp_path / "page.html").read_text().split("<h2>T</h2>")[1].split("</tr>")[1]
    assert line == (
        "<tr><td>a1</td><td class=n>-0.5</td><td class=n>≥ 3</td><td class=n>1 of 2</td><td></td><td>2 x</td>"
    )
