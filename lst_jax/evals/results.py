"""Results of tasks as they are kept and shown, the convention beside every number; nothing here needs JAX."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from lst_jax.core import json_files, text_table
from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.files import write_json, write_text

FOLDER = "evaluations"  # of a run
RULES = {
    "sum": "sum",
    "per_token": "mean per token",
    "per_patch": "mean per patch",
    "per_second": "mean per second of speech",
}
OF_BANDS = ("sum", "per_token")  # what is shown of bands; all rules are in the file
GRIDS = {
    "restart": "the response's first patch starts with it",
    "continue": "the response goes on in the prompt's patches",
}
SCOPES = {"response": "the response given the prompt", "whole": "prompt and response"}


def keep(run_path: pathlib.Path, kept: Mapping[str, Any], grid: str, scope: str, others: Mapping[str, str]) -> None:
    """Writes evaluations/TASK-STEP-GRID-SCOPE.json, and beside it a .txt for each of `others`. Raises: StorageError."""
    stem = f"{kept['task']}-{kept['step']:08d}-{grid}-{scope}"
    write_json(run_path / FOLDER / f"{stem}.json", kept)
    for suffix, text in others.items():
        write_text(run_path / FOLDER / f"{stem}-{suffix}.txt", text)


def read(run_path: pathlib.Path) -> list[dict[str, Any]]:
    """All that `keep` wrote into a run, by name. Raises: DataError where a file is not JSON."""
    paths = sorted((run_path / FOLDER).glob("*.json"))
    return [json_files.read(path, "remove it, and evaluate again", strict_numbers=False) for path in paths]


def convention(result: Mapping[str, Any]) -> str:
    """What the numbers of a result are, in words."""
    return f"{SCOPES[result['scored']]}; {GRIDS[result['patches']]}; {result['patching']}"


def rows_of(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(task and direction, accuracy, rule, interval and convention), a band a line of its own."""
    rows = []
    for kept in results:
        for one in kept["results"]:
            what = f"{kept['task']} {DIRECTIONS[one['direction']]}"
            for rule, share in one["rules"].items():
                rows.append(
                    (
                        what,
                        f"{share['accuracy']:.1%}",
                        f"{RULES[rule]}; 95% interval {share['low']:.1%} to {share['high']:.1%}, "
                        f"{share['groups']} items, chance {one['chance']:.0%}; {convention(one)}; step "
                        f"{kept['step']}",
                    )
                )
            for name, values in one["bands"].items():
                for value, rules in values.items():
                    rows += [
                        (
                            f"{what}, {name} {value}",
                            f"{rules[rule]['accuracy']:.1%}",
                            f"{RULES[rule]}; 95% interval {rules[rule]['low']:.1%} to {rules[rule]['high']:.1%}, "
                            f"{rules[rule]['groups']} items; {convention(one)}; step {kept['step']}",
                        )
                        for rule in OF_BANDS
                    ]
    return rows


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The same for the terminal, and how full the rows were."""
    rows = rows_of(results)
    lines = [line.strip() for line in text_table.columns(rows)] if rows else []
    for kept in results:
        for one in kept["results"]:
            fill = one["fill"]
            lines.append(
                f"{kept['task']} {DIRECTIONS[one['direction']]}: {fill['sequences']} sequences, "
                f"{fill['distinct']} distinct, in rows {fill['token_fill']:.1%} (tokens) and "
                f"{fill['unit_fill']:.1%} (unit positions) real; {fill['prompt_shared']:.1%} not "
                f"computed as their prompts are shared, {fill['prompt_again']:.1%} prompts computed before"
                + (f"; {one['beyond_training_rows']} longer than a training row" if one["beyond_training_rows"] else "")
                + ("" if one["rules"] else "; no labels: scores only")
            )
    return "\n".join(lines)
