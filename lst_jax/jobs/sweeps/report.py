"""`lst report SWEEP`: the finished runs of a sweep, the laws fitted to them, and pictures, on one page."""

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from lst_jax.core.code_version import code_commit
from lst_jax.core.directions import DIRECTIONS
from lst_jax.jobs.sweeps import collect
from lst_jax.jobs.sweeps.status import RUNS, Status, status_of, summary
from lst_jax.jobs.sweeps.trials import FILE, Sweep, read_sweep
from lst_jax.laws import bootstrap, fit_page, fit_report
from lst_jax.laws.fit_files import fit_files
from lst_jax.report import results_file
from lst_jax.runs import ledger
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.lines import read_segment
from lst_jax.storage import objects
from lst_jax.storage.place import Place

UNITS = {"loss_speech": "bits/s", "loss_text": "bits per token"}
FITS = "fits"  # of a sweep's folder: fit.json, fit.txt and pictures
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")
HEADER = (
    "run",
    "state",
    "parameters",
    "steps",
    "tokens",
    "FLOPs",
    "time of all steps",
    "speech, bits/s",
    "text, bits/token",
    DIRECTIONS["s2s"],
    DIRECTIONS["t2t"],
    "wall time",
    "starts",
)
NOTE = (
    "Losses are of whole held-out documents of one modality; accuracies are completion choice, scored by mean per "
    "token. N counts all parameters, D all tokens trained on, C the analytic FLOPs of what the batches held. "
    "The time of all steps is their number times their median on the machine that trained them."
)


def is_sweep(folder: Place) -> bool:
    """Whether a folder is a sweep's."""
    return objects.exists(folder / FILE)


def write_report(
    folder: Place,
    runs: Place | None = None,
    page: Place | None = None,
    markdown: Place | None = None,
    repeats: int = bootstrap.REPEATS,
) -> int:
    """Writes points.jsonl, fits/ and the page into the sweep's folder; prints the fits. Returns 0.

    Args: `runs` is where the runs are, `page` the page; None = in the folder itself. `markdown` is a file of results
    that gets a section with the numbers and a link to the page.
    Raises: DataError where no run is done.
    """
    sweep, runs = read_sweep(folder), runs or folder / RUNS
    found = status_of(runs, sweep.trials)
    points = collect.write_points(folder, runs)
    document, pictures = fit_files(points, folder / FITS, ("text", "speech"), repeats, units=UNITS, progress=True)
    page = page or folder / "report.html"
    fit_page.write_page(
        page,
        f"{folder.name}: {sweep.reference}",
        note_of(sweep, found),
        [("Runs", HEADER, rows_of(runs, found, read_segment(points)))],
        document,
        pictures,
    )
    if markdown:
        origin = results_file.provenance(sys.argv[1:], PACKAGES)
        results_file.write_section(
            markdown,
            f"Sweep: {sweep.reference}",
            body_of(sweep, found, document, _link(page, markdown)),
            origin,
        )
    print(fit_report.render(document))
    print(f"\nwrote {points}, {folder / FITS} and {page}")
    return 0


def _link(page: Place, markdown: Place) -> str:
    if isinstance(page, pathlib.Path) and isinstance(markdown, pathlib.Path):
        return os.path.relpath(page, markdown.parent)
    return str(page)


def note_of(sweep: Sweep, found: Sequence[Status]) -> str:
    """What stands under the title."""
    commits = f"runs of commit {sweep.commit or 'unknown'}, page of commit {code_commit() or 'unknown'}"
    return f"{summary(found)}; {commits}. {NOTE}"


def body_of(sweep: Sweep, found: Sequence[Status], document: dict[str, Any], link: str) -> str:
    """The section of a file of results."""
    runs = [[s.trial.label, f"{s.trial.parameters:,}"] for s in found if s.state == "done"]
    sizes = {label: [size for of, size in runs if of == label] for label, _ in runs}
    families = "; ".join(
        f"{label}: {len(of)} runs of {', '.join(dict.fromkeys(of))} parameters" for label, of in sizes.items()
    )
    numbers = [
        ["" if i else fit_report.title(fit), *row]
        for fit in document["fits"]
        if "refused" not in fit
        for i, row in enumerate(fit_report.rows(fit))
    ]
    refused = [f"- {fit_report.title(fit)}: refused: {fit['refused']}" for fit in document["fits"] if "refused" in fit]
    return "\n\n".join(
        [
            f"[The page with all runs and pictures]({link}). {note_of(sweep, found)}",
            families,
            results_file.table(("fit", "number", "value", "95% interval"), numbers),
            "\n".join(refused),
        ]
    )


def rows_of(runs: Place, found: Sequence[Status], points: Sequence[dict[str, Any]]) -> list[list[str]]:
    """One line per run; measured figures of those that are done, expected ones of the others."""
    by_name = {point["run"]: point for point in points}
    return [_row(RunDirectory(runs / s.trial.name), s, by_name.get(s.trial.name, {})) for s in found]


def _row(run: RunDirectory, found: Status, point: dict[str, Any]) -> list[str]:
    trial = found.trial
    wall = ledger.summarize(run.read_ledger())["wall_sec"]
    losses = [_number(point.get(key), "{:.2f}") for key in ("loss_speech", "loss_text")]
    accuracies = [_number(point.get(key), "{:.1%}") for key in ("accuracy_speech", "accuracy_text")]
    return [
        trial.name,
        found.state,
        f"{trial.parameters:,}",
        f"{trial.steps:,}",
        f"{point.get('tokens', trial.tokens):.4g}",
        f"{point.get('flops', trial.flops):.4g}",
        ledger.in_words(point["seconds"]) if "seconds" in point else "",
        *losses,
        *accuracies,
        ledger.in_words(wall) if wall else "",
        str(found.starts),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
