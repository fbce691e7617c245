"""The numbers of a run: what report.json holds, and the same as rows for people."""

import collections
import statistics
from typing import Any

from lst_jax.config import Config, config_hash
from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.evals.records import store
from lst_jax.evals.records.choices import ChoicesRecord
from lst_jax.evals.records.kind import Record, Row
from lst_jax.evals.records.likelihood import metric_rows
from lst_jax.runs import ledger
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects

HOSTS = ("host_seconds", "host_seconds_slowest", "slowest_host")
RECORDS_OF_HOSTS = 100  # the newest ones
FIRST_STEP = {"first_step_sec", "compile_sec", "compile_sec_saved", "programs_found"}  # what the ledger says of it
SPEEDS = ("seconds_per_step", "tokens_per_second", "patches_per_second", "mfu")


def summarize_run(
    run: RunDirectory, config: Config, records: list[dict[str, Any]], found: store.Found
) -> dict[str, Any]:
    """The content of report.json: `records` are those of metrics.jsonl, `found` those of RUN/evaluations."""
    train = [r for r in records if r["kind"] == "train"]
    evaluations = [r for r in records if r["kind"] == "eval"]
    starts = run.read_starts()
    last = train[-1]
    _check(run, train, starts)
    # Medians, because a record after an evaluation, or the last one, covers a single step.
    speed = {key: statistics.median(r[key] for r in train if key in r) for key in SPEEDS if key in last}
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
        "tasks": [store.as_json(one) for one in found.records if isinstance(one, ChoicesRecord)],
        "evaluations": [store.as_json(one) for one in found.records if not isinstance(one, ChoicesRecord)],
        "evaluations_passed_over": found.passed_over,
        "starts": len(starts),
        "last_start": starts[-1],
        "wall_time": ledger.summarize(run.read_ledger()),
        "hosts": hosts_of(train),
        "profiles": [str(run.profiles_path / name) for name in objects.names(run.profiles_path)],
        "hangs": [str(run.hangs_path / name) for name in objects.names(run.hangs_path)],
        "mfu_definition": "analytic model FLOPs of the steps / (their wall time × peak FLOP/s of the devices)",
    }


def hosts_of(train: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How the hosts of a job compare in its newest records: medians, and the process that was slowest most often.

    None for a run of one process.
    """
    told = [r for r in train[-RECORDS_OF_HOSTS:] if all(isinstance(r.get(key), (int, float)) for key in HOSTS)]
    if not told:
        return None
    mean, slowest, processes = ([r[key] for r in told] for key in HOSTS)
    process, times = collections.Counter(processes).most_common(1)[0]
    return {
        "mean_sec": statistics.median(mean),
        "slowest_sec": statistics.median(slowest),
        "process": process,
        "share": times / len(told),
    }


def _check(run: RunDirectory, train: list[dict[str, Any]], starts: list[dict[str, Any]]) -> None:
    """Raises: DataError where a field that the tables show is missing, or of another type."""
    needed = {"loss": float, "tokens_so_far": int, "tokens_per_second": float, "patches_per_second": float}
    needed |= {"skipped_steps": int}
    needed |= {key: float for key in SPEEDS if key in train[-1]}
    for record in train:
        own = needed if record is train[-1] else {key: kind for key, kind in needed.items() if key in record}
        json_files.check_fields(record, own, f"{run.metrics_path}: step {record['step']}", "remove the line")
    if not starts:
        raise DataError(f"{run.starts_path}: has no line; copy the run again")
    kinds = {"packages": dict, "cores": int, "devices": list}
    json_files.check_fields(starts[-1], kinds, str(run.starts_path), "remove its last line")


def training_rows(summary: dict[str, Any]) -> list[Row]:
    """Rows about training and its newest held-out evaluation; the same in the terminal and on the page."""
    speed = summary["median_speed"]
    rows = [
        ("steps", f"{summary['steps']} of {summary['of_steps']}", f"{summary['starts']} start(s)"),
        ("final training loss", f"{summary['final_loss']:.6f}", "nats per token, last step"),
        (
            "tokens trained",
            f"{summary['tokens_trained']:,}",
            f"{speed['tokens_per_second']:,.0f} per second, "
            f"{speed['patches_per_second']:,.0f} patch positions per second (medians)",
        ),
    ]
    if summary["train"]["skipped_steps"]:
        skipped = str(summary["train"]["skipped_steps"])
        rows.append(("updates skipped", skipped, "not finite, or spikes; kind bad in metrics.jsonl"))
    if "mfu" in speed:
        start = summary["last_start"]
        json_files.check_fields(
            start, {"peak_flops": float, "peak_source": str}, "starts.jsonl", "remove its last line"
        )
        peak = f"of {start['peak_flops'] / 1e9:,.0f} GFLOP/s, {start['peak_source']}"
        rows.append(("MFU", f"{speed['mfu']:.1%}", peak))
    return [*rows, *_beside_rows(summary), *metric_rows(summary["evaluation"] or {})]


def _beside_rows(summary: dict[str, Any]) -> list[Row]:
    """Rows about a job's hosts, hangs and profiles; none where there is nothing to say."""
    rows, hosts = [], summary["hosts"]
    if hosts:
        rows.append(
            (
                "slowest host",
                f"{hosts['slowest_sec']:.3f} s",
                f"of a host's own work for a step, {hosts['mean_sec']:.3f} s on average (medians); "
                f"in {hosts['share']:.0%} of the records it was process {hosts['process']}",
            )
        )
    if summary["hangs"]:
        rows.append(("hangs", str(len(summary["hangs"])), f"ended by the watchdog; the newest: {summary['hangs'][-1]}"))
    if summary["profiles"]:
        newest = summary["profiles"][-1]
        rows.append(("profiles", str(len(summary["profiles"])), f"the newest: tensorboard --logdir {newest}"))
    return rows


def evaluation_sections(records: list[Record]) -> list[tuple[str, list[Row]]]:
    """(title, rows) for each kind of evaluation that the run has records of."""
    sections: dict[str, list[Row]] = {}
    for record in records:
        sections.setdefault(record.TITLE, []).extend(record.rows())
    return list(sections.items())


def _first_step_rows(starts: list[dict[str, Any]]) -> list[Row]:
    """How long the newest start that made a step took to its first one."""
    told = next((start for start in reversed(starts) if (start["first_step"] or {}).keys() >= FIRST_STEP), None)
    if told is None:
        return []
    first = told["first_step"]
    compiled = f"{first['compile_sec']:.1f} s for compiling and reading programs"
    found = f"{first['programs_found']} found compiled, which saved about {first['compile_sec_saved']:.0f} s"
    seconds = f"{first['first_step_sec']:.1f} s"
    return [("start to first step", seconds, f"newest start, from step {told['from_step']}: {compiled}; {found}")]


def wall_time_rows(summary: dict[str, Any]) -> list[Row]:
    """Rows about where the wall time went; none for a run without a ledger."""
    spent = summary["wall_time"]
    if not spent["starts"]:
        return []
    down = f"; {ledger.in_words(spent['down_sec'])} down between them, not counted" if spent["down_sec"] else ""
    rows = [("wall time", ledger.in_words(spent["wall_sec"]), f"{len(spent['starts'])} start(s){down}")]
    rows += [
        (
            words,
            ledger.in_words(spent["seconds"][account]),
            f"{spent['seconds'][account] / max(spent['wall_sec'], 1e-9):.1%}",
        )
        for account, words in ledger.ACCOUNTS.items()
    ]
    rows += _first_step_rows(spent["starts"])
    return [*rows, ("goodput", f"{spent['goodput']:.1%}", "steps that counted / wall time")]
