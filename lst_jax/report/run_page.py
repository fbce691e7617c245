"""`lst report RUN`: the numbers of a run as report.json, and as one self-contained report.html with its pictures.

Pictures and sounds that other commands left in RUN/pictures and RUN/sounds are shown too, under their file names.
"""

import pathlib
import statistics
from typing import Any

from lst_jax.config import config_hash
from lst_jax.core import html_page, json_files
from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.errors import CheckpointError
from lst_jax.core.files import write_json, write_text
from lst_jax.evals import results
from lst_jax.report import figures
from lst_jax.runs import ledger
from lst_jax.runs.directory import RunDirectory

CONVENTION = (
    "Completion choice: given the first half of a held-out utterance, is its true second half likelier than "
    "the second half of another one of about the same length? S is speech, T is text; the response is scored "
    "given the prompt."
)
RULES = (("sum", "sum"), ("mean", "mean per token"))


def write_report(run: RunDirectory) -> int:
    """Writes report.json, report.html and pictures/*.png into the run; prints the tables. Returns 0.

    Raises: CheckpointError where the run has no records yet.
    """
    config = run.load_config()
    records = run.read_metrics()
    if not any(r["kind"] == "train" for r in records):
        raise CheckpointError(f"{run.metrics_path}: holds no records yet; train first with lst train {run.path}")
    summary = summarize_run(run, config, records)
    write_json(run.path / "report.json", summary)
    pictures = figures.write_all(config, records, summary["wall_time"]["starts"], run.path / "pictures")
    sounds = sorted((run.path / "sounds").glob("*.wav"))
    write_text(run.path / "report.html", render_html(summary, pictures, sounds))
    print(render_table(summary))
    print(f"\nwrote {run.path / 'report.html'}, {run.path / 'report.json'} and {len(pictures)} pictures")
    return 0


def summarize_run(run: RunDirectory, config, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of report.json."""
    train = [r for r in records if r["kind"] == "train"]
    evaluations = [r for r in records if r["kind"] == "eval"]
    starts = json_files.read_lines(run.starts_path)
    last = train[-1]
    # medians: a record behind an evaluation or at the very end covers a single step
    speed = {
        key: statistics.median(r[key] for r in train if key in r)
        for key in ("seconds_per_step", "tokens_per_second", "patches_per_second", "mfu")
        if key in last
    }
    return {
        "name": config.name,
        "config_hash": config_hash(config),
        "steps": last["step"],
        "of_steps": config.train.steps,
        "final_loss": last["loss"],
        "train": last,
        "median_speed": speed,
        "evaluation": evaluations[-1] if evaluations else None,
        "tokens_trained": last["tokens_so_far"],
        "tasks": results.read(run.path),
        "starts": len(starts),
        "last_start": starts[-1],
        "wall_time": ledger.summarize(json_files.read_lines(run.ledger_path)),
        "mfu_definition": "analytic model FLOPs of the steps / (their wall time × peak FLOP/s of the devices)",
    }


def rows_of(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, value, remark) for the table; the same rows in the terminal and on the page."""
    speed, evaluation = summary["median_speed"], summary["evaluation"]
    rows = [
        ("steps", f"{summary['steps']} of {summary['of_steps']}", f"{summary['starts']} start(s)"),
        ("final training loss", f"{summary['final_loss']:.6f}", "nats per token, last step"),
        (
            "tokens trained",
            f"{summary['tokens_trained']:,}",
            f"{speed['tokens_per_second']:,.0f}/s, {speed['patches_per_second']:,.0f} patch positions/s (medians)",
        ),
    ]
    if summary["train"]["skipped_steps"]:
        rows.append(
            (
                "updates skipped",
                str(summary["train"]["skipped_steps"]),
                "not finite, or spikes; kind bad in metrics.jsonl",
            )
        )
    if "mfu" in speed:
        start = summary["last_start"]
        peak = f"of {start['peak_flops'] / 1e9:,.0f} GFLOP/s, {start['peak_source']}"
        rows.append(("MFU", f"{speed['mfu']:.1%}", peak))
    if evaluation is None:
        return rows
    for key, value in evaluation.items():
        source, _, name = key.rpartition("/")
        if name in figures.LABELS and source.startswith("heldout/"):
            rows.append((f"held-out {source.removeprefix('heldout/')}", f"{value:.3f}", figures.LABELS[name]))
    for direction, arrow in DIRECTIONS.items():
        for rule, words in RULES:
            key = f"completion/{direction}/{rule}"
            if key in evaluation:
                interval = f"{evaluation[key + '_low']:.1%} to {evaluation[key + '_high']:.1%}"
                items = evaluation[f"completion/{direction}/items"]
                rows.append(
                    (
                        f"completion choice {arrow}",
                        f"{evaluation[key]:.1%}",
                        f"{words}; 95% interval {interval}, {items} items, chance 50%",
                    )
                )
    return rows


def wall_time_rows(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, value, remark) of where the time went; nothing of a run that has no ledger."""
    spent = summary["wall_time"]
    if not spent["starts"]:
        return []
    down = f"; {ledger.in_words(spent['down_sec'])} down between them, not counted" if spent["down_sec"] else ""
    rows = [("wall time", ledger.in_words(spent["wall_sec"]), f"{len(spent['starts'])} start(s){down}")]
    rows += [
        (words, ledger.in_words(spent["seconds"][account]), f"{spent['seconds'][account] / spent['wall_sec']:.1%}")
        for account, words in ledger.ACCOUNTS.items()
    ]
    return [*rows, ("goodput", f"{spent['goodput']:.1%}", "steps that counted / wall time")]


def render_table(summary: dict[str, Any]) -> str:
    """The tables for the terminal."""
    rows = rows_of(summary) + results.rows_of(summary["tasks"]) + wall_time_rows(summary)
    widths = [max(len(r[i]) for r in rows) for i in range(2)]
    return "\n".join(f"{what:<{widths[0]}}  {value:>{widths[1]}}  {remark}" for what, value, remark in rows)


def render_html(summary: dict[str, Any], pictures: list[tuple[pathlib.Path, str]], sounds: list[pathlib.Path]) -> str:
    """The page, with its pictures and its sounds inside."""
    e = html_page.escape

    def table(rows: list[tuple[str, str, str]]) -> str:
        return html_page.table(rows, numbers={1})

    body = "".join(
        f"<h2>{e(title)}</h2>{table(wall_time_rows(summary)) if title == figures.WALL_TIME else ''}"
        f"{html_page.picture(path, title)}"
        for path, title in pictures
    )
    body += "".join(
        f"<h2>{e(figures.title_of(path))}</h2><audio controls src='{html_page.embed(path, 'audio/wav')}'></audio>"
        for path in sounds
    )
    start = summary["last_start"]
    made = (
        f"commit {start['commit'] or 'unknown'}, jax {start['packages']['jax']}, "
        f"flax {start['packages']['flax']}, {start['cores']} cores, {', '.join(start['devices'])}"
    )
    return html_page.document(
        summary["name"],
        (
            f"<p class=note>configuration {e(summary['config_hash'])}; {e(made)}</p>"
            f"{table(rows_of(summary))}<p class=note>{CONVENTION} MFU is {e(summary['mfu_definition'])}.</p>"
            f"{tasks_section(summary, table)}{body}"
        ),
    )


def tasks_section(summary: dict[str, Any], table) -> str:
    """What `lst evaluate --tasks` has left in the run; nothing where there is none."""
    rows = results.rows_of(summary["tasks"])
    return f"<h2>Tasks</h2>{table(rows)}" if rows else ""
