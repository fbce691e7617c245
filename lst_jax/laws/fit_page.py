"""A fit as one self-contained HTML page: tables, every number with its interval, pictures, and what it all rests on."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from lst_jax.core import html_page
from lst_jax.laws import fit_report
from lst_jax.storage import objects
from lst_jax.storage.place import Place

NUMBER = re.compile(r"[-+−≥≤±~]? ?\.?\d")  # how a cell that is aligned right begins
EMPTY = ("", "-", "–")
INTERVALS = (
    "An interval lies between the 2.5% and the 97.5% quantile of the repeats. Each repeat draws its own scatter from "
    "what the runs say about theirs, simulates every run as the fitted law with normal noise of that size in log "
    "loss, and is fitted anew. A multiplier is of repeats of both laws, drawn independently; a gap's noise is said "
    "beside it. Intervals know nothing of a wrong law, nor of a seed common to runs."
)


def write_page(
    path: Place,
    title: str,
    note: str,
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]],
    document: dict[str, Any],
    pictures: Sequence[tuple[Place, str]],
) -> None:
    """Writes the page atomically.

    Args: note: a line under the title. tables: (heading, header, rows). document: the content of fit.json. pictures:
    (PNG file, caption). All of it is plain text.
    Raises: StorageError.
    """
    parts = [_note(note)]
    for heading, header, rows in tables:
        parts.append(f"<h2>{html_page.escape(heading)}</h2>{html_page.table(rows, header, _numbers(rows))}")
    for file, caption in pictures:
        parts.append(f"<p>{html_page.picture(objects.read_bytes(file), caption)}</p>{_note(caption)}")
    parts += [
        "<h2>Fits</h2>",
        _note(fit_report.method(document)),
        *map(_fit, document["fits"]),
        "<h2>How the intervals were made</h2>",
        _note(INTERVALS),
        "<h2>What this was made from</h2>",
        html_page.table(_versions(document)),
    ]
    objects.write_text(path, html_page.document(title, "".join(parts)))


def write_fit(out: Place, document: dict[str, Any], pictures: Sequence[tuple[Place, str]]) -> Place:
    """Writes the page of a fit alone into its folder, with compute-optimal tables first; returns it.

    Raises: StorageError.
    """
    page = out / "fit.html"
    tables = [
        (f"Compute-optimal: {fit_report.title(fit)}", fit_report.optimum_header(document["cost"]), rows)
        for fit in document["fits"]
        if (rows := fit_report.optimum_rows(fit))
    ]
    note = " ".join(document["notes"]) or f"Runs of {document['points']['file']}."
    write_page(page, f"Fit of {PurePath(document['points']['file']).name}", note, tables, document, pictures)
    return page


def _fit(fit: dict[str, Any]) -> str:
    heading = f"<h3>{html_page.escape(fit_report.title(fit))}</h3>"
    if "refused" in fit:
        return heading + _note(f"Refused: {fit['refused']}.")
    return (
        heading
        + _note(fit_report.basis(fit))
        + html_page.table(fit_report.rows(fit), ("number", "value", "95% interval"), numbers={1, 2})
    )


def _versions(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Of the code that fitted and of the runs that were used."""
    runs = {run["run"]: run for fit in document["fits"] for run in fit.get("runs", ())}
    commits = sorted({run["commit"] or "unknown" for run in runs.values()})
    hashes = {run["config_hash"] for run in runs.values()}
    code, points = document["code"], document["points"]
    ours = [("trained by commit", ", ".join(commits) or "-"), ("configurations", str(len(hashes)))]
    return [
        ("fitted by", f"lst_jax {code['lst_jax']}, commit {code['commit'] or 'unknown'}"),
        ("runs", f"{points['file']}, SHA-256 {points['sha256']}"),
        ("runs in a fit", str(len(runs))),
        *([] if hashes == {None} else ours),
    ]


def _note(text: str) -> str:
    return f"<p class=note>{html_page.escape(text)}</p>"


def _numbers(rows: Sequence[Sequence[str]]) -> set[int]:
    """Columns of which every cell that is not empty begins as a number does."""
    columns = [[cell for cell in column if cell not in EMPTY] for column in zip(*rows, strict=True)]
    return {i for i, cells in enumerate(columns) if cells and all(NUMBER.match(cell) for cell in cells)}
