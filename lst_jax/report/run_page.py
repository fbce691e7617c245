"""`lst report RUN`: the numbers of a run as report.json, and as one self-contained report.html with its pictures.

The page also shows pictures and sounds that other commands left in RUN/pictures and RUN/sounds, under their file names.
"""

import sys
from typing import Any

from lst_jax.core import html_page
from lst_jax.core.errors import CheckpointError
from lst_jax.evals.records import store
from lst_jax.evals.records.kind import Row
from lst_jax.evals.records.text import table as text_table
from lst_jax.report import figures, run_files, run_summary
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects
from lst_jax.storage.place import Place

CONVENTION = (
    "Completion choice: given the first half of a held-out utterance, is its true second half likelier than "
    "the second half of another one of about the same length? S is speech, T is text; the response is scored "
    "given the prompt."
)


def write_report(run: RunDirectory) -> int:
    """Prints the tables, then writes report.json, report.html and pictures/*.png into the run. Returns 0.

    Raises: CheckpointError where the run has no records yet; StorageError where the run cannot be written.
    """
    config = run.load_config()
    records = run.read_metrics()
    if not any(r["kind"] == "train" for r in records):
        raise CheckpointError(f"{run.metrics_path}: holds no records yet; train first with lst train {run.path}")
    found = store.read(run.path)
    summary = run_summary.summarize_run(run, config, records, found)
    sections = run_summary.evaluation_sections(found.records)
    rows = [row for _, section in sections for row in section]
    print(text_table([*run_summary.training_rows(summary), *rows, *run_summary.wall_time_rows(summary)]))
    drawn, not_drawn = figures.write_all(config, records, summary["wall_time"]["starts"], run.path)
    others, strange_pictures = run_files.own_files(run.path, figures.FOLDER, ".png")
    sounds, strange_sounds = run_files.own_files(run.path, "sounds", ".wav")
    pictures = drawn + [(path, figures.title_of(path)) for path in others if path not in dict(drawn)]
    for line in [*found.passed_over, *not_drawn, *strange_pictures, *strange_sounds]:
        print(f"lst report: {line}", file=sys.stderr)
    objects.write_json(run.path / "report.json", summary)
    objects.write_text(run.path / "report.html", render_html(summary, sections, pictures, sounds))
    print(f"\nwrote {run.path / 'report.html'}, {run.path / 'report.json'} and {len(pictures)} pictures")
    return 0


def render_html(
    summary: dict[str, Any],
    sections: list[tuple[str, list[Row]]],
    pictures: list[tuple[Place, str]],
    sounds: list[Place],
) -> str:
    """The page, with its pictures and its sounds inside."""
    start = summary["last_start"]
    origin = (
        f"configuration {summary['config_hash']}; commit {start.get('commit') or 'unknown'}, "
        f"jax {start['packages'].get('jax')}, flax {start['packages'].get('flax')}, {start['cores']} cores, "
        f"{', '.join(map(str, start['devices']))}"
    )
    return html_page.document(
        summary["name"],
        _note(origin)
        + _table(run_summary.training_rows(summary))
        + _note(f"{CONVENTION} MFU is {summary['mfu_definition']}.")
        + "".join(f"{_heading(title)}{_table(rows)}" for title, rows in sections)
        + "".join(_note(line) for line in summary["evaluations_passed_over"])
        + "".join(_picture(path, title, summary) for path, title in pictures)
        + "".join(_sound(path) for path in sounds),
    )


def _sound(path: Place) -> str:
    source = html_page.embed(objects.read_bytes(path), "audio/wav")
    return f"{_heading(figures.title_of(path))}<audio controls src='{source}'></audio>"


def _picture(path: Place, title: str, summary: dict[str, Any]) -> str:
    rows = _table(run_summary.wall_time_rows(summary)) if title == figures.WALL_TIME else ""
    return f"{_heading(title)}{rows}{html_page.picture(objects.read_bytes(path), title)}"


def _heading(title: str) -> str:
    return f"<h2>{html_page.escape(title)}</h2>"


def _note(text: str) -> str:
    return f"<p class=note>{html_page.escape(text)}</p>"


def _table(rows: list[Row]) -> str:
    return html_page.table(rows, numbers={1})
