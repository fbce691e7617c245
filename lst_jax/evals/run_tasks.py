"""`lst evaluate RUN --tasks`: tasks on a checkpoint of a run, into RUN/evaluations."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from lst_jax.checkpoints.trained_model import TrainedModel, load_trained_model
from lst_jax.config import Config, config_hash
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.patching import strategy_of
from lst_jax.data.pipeline import open_source, open_tokenizer
from lst_jax.data.tasks import registry, zerospeech
from lst_jax.data.tasks.items import Task, digest
from lst_jax.data.tasks.kind import NAME_PATTERN, HeldOutTask
from lst_jax.evals import scorer, tasks
from lst_jax.evals.records import store, text
from lst_jax.evals.records.choices import ChoicesRecord
from lst_jax.parallel import processes
from lst_jax.runs.directory import RunDirectory

HELD_OUT_ITEMS = 1000  # of a task that is made from held-out utterances, unless the run says a number
SUBMITTED = ("sum", "per_token")  # one file for each rule, as a submission cannot say which it is by


def evaluate_tasks(
    run: RunDirectory,
    specs: Sequence[str],
    directions: str | None,
    grid: str,
    scope: str,
    as_json: bool,
    mesh_changes: Sequence[str] = (),
    step: int | None = None,
) -> int:
    """Scores the tasks of each `NAME=PATH[,NAME=PATH…]`, prints the results, and keeps them in RUN/evaluations.

    `directions` None means all directions for which a task has what they need. Directions that were asked before, about
    the same items at the same step, are kept. `mesh_changes` and `step` as in `load_trained_model`.

    Returns: exit code 0. Raises: ConfigError, DataError, CheckpointError, each one line.
    """
    wanted = _wanted(directions)
    named = parse(specs)
    opened = load_trained_model(run, mesh_changes, step=step)
    config = opened.config
    found = [(name, path, _open_task(name, path, config)) for name, path in named]
    kept, one_scorer = [], scorer.Scorer(config, opened.mesh)
    for name, path, task in found:
        own, submissions = evaluate_task(opened, one_scorer, name, task, wanted, grid, scope)
        fields = {
            "task": name,
            "path": path,
            "step": opened.step,
            "config_hash": config_hash(config),
            "results": own,
            "digest": digest(task.items),
        }
        kept.append(store.build(ChoicesRecord.KIND, fields))
        if processes.is_leader():
            before = store.earlier(run.path, kept[-1])
            whole = kept[-1].joined(before) if isinstance(before, ChoicesRecord) else kept[-1]
            store.write(run.path, whole, submissions)
    if processes.is_leader():
        for record in kept:
            for line in record.beyond_lines(config.data.row_tokens, config.data.row_patches):
                print(line, file=sys.stderr)
        if as_json:
            print(json.dumps([store.as_json(record) for record in kept]))
        else:
            print(text.table([row for record in kept for row in record.rows()]))
            print("\n".join(line for record in kept for line in record.fill_lines()))
    return 0


def evaluate_task(
    opened: TrainedModel,
    one_scorer: scorer.Scorer,
    name: str,
    task: Task,
    directions: Sequence[str] | None,
    grid: str = "restart",
    scope: str = "response",
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Scores one task.

    Returns: a result for each direction (docs/formats.md, "evaluations"), and submissions by "DIRECTION-RULE" where
    choices have names. Raises: DataError where an item does not fit the run.
    """
    config = opened.config
    builder, rule = ExampleBuilder.of(config, open_tokenizer(config)), strategy_of(config.data.patching).inference_rule
    found, submissions = [], {}
    for direction in directions or tasks.available(task.items):
        try:
            candidates = [one for item in task.items for one in tasks.candidates(item, direction, builder, rule, grid)]
        except DataError as error:
            raise DataError(f"task {name}: {error}") from error
        nats, fill = one_scorer.nats(opened.params, candidates, f"{name} {direction}")
        amounts = tasks.amounts(task.items, candidates, nats, builder, config.data.unit_rate, scope)
        found.append(
            {
                "direction": direction,
                "scored": scope,
                "patches": grid,
                "patching": tasks.describe_patching(config),
                "note": task.note,
                "items": len(task.items),
                **tasks.judge(task.items, amounts),
                "fill": fill._asdict(),
                "beyond_training_rows": sum(not scorer.fits(config, c.example) for c in candidates),
            }
        )
        if any(part.name is not None for item in task.items for part in item.choices):
            for rule in SUBMITTED:
                submissions[f"{direction}-{rule}"] = zerospeech.submission(
                    task.items, [[one.score(rule) for one in own] for own in amounts]
                )
    if not found:
        raise DataError(
            f"task {name}: its items have neither text nor units for all prompts and choices; make units "
            "with lst prepare spoken-task"
        )
    return found, submissions


def parse(specs: Sequence[str]) -> list[tuple[str, str | None]]:
    """Names and paths of each "NAME=PATH,NAME=PATH"; a task of held-out utterances has no path. Raises: ConfigError."""
    found: list[tuple[str, str | None]] = []
    for spec in (one for some in specs for one in some.split(",")):
        name, equals, path = spec.partition("=")
        if (
            not re.fullmatch(NAME_PATTERN, name)
            or (name in registry.held_out_tasks()) == bool(path)
            or (equals and not path)
        ):
            raise ConfigError(
                f"--tasks {spec}: must be NAME=PATH, or {' or '.join(registry.held_out_tasks())}; "
                f"benchmarks are {', '.join(registry.file_tasks())}"
            )
        if any(name == other for other, _ in found):
            raise ConfigError(
                f"--tasks {spec}: is the second task called {name}, and results are kept by name; run the command for each"
            )
        found.append((name, path or None))
    return found


def _wanted(directions: str | None) -> list[str] | None:
    if directions is None:
        return None
    wanted = list(dict.fromkeys(directions.split(",")))
    for direction in wanted:
        if direction not in tasks.DIRECTIONS:
            raise ConfigError(f"--directions {direction}: must be some of {', '.join(tasks.DIRECTIONS)}; correct it")
    return wanted


def _open_task(name: str, path: str | None, config: Config) -> Task:
    task_of_run = registry.find(name)
    if isinstance(task_of_run, HeldOutTask):
        utterances = [u for s in config.eval.sources if s.kind == "utterance" for u in open_source(s, config)]
        items = task_of_run.make_items(utterances, config.eval.completion_items or HELD_OUT_ITEMS)
        if not items:
            raise DataError(f"--tasks {name}: eval.sources has no utterances of {task_of_run.needs}; give a file")
        return Task(tuple(items), task_of_run.note)
    task = registry.read_task(name, path)
    if task.unit_rate is not None and task.unit_rate != config.data.unit_rate:
        raise DataError(
            f"{path}: unit_rate={task.unit_rate}, the run has data.unit_rate={config.data.unit_rate}; make "
            "its units again at that rate"
        )
    if task.codebook is not None:
        for source in config.eval.sources:
            ours = open_source(source, config).metadata.codebook_fingerprint if source.kind == "utterance" else None
            if ours not in (None, task.codebook):
                raise DataError(
                    f"{path}: codebook={task.codebook}, {source.path} was made with {ours}; make its units "
                    "again with that one"
                )
    return task
