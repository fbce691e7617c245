"""From finished runs to points of scaling laws: SWEEP/points.jsonl (docs/formats.md, "Points")."""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from lst_jax.config import config_hash
from lst_jax.core.errors import DataError
from lst_jax.data.packing import eval_label
from lst_jax.jobs.sweeps.status import Status, status_of
from lst_jax.jobs.sweeps.trials import Trial, read_sweep
from lst_jax.runs.directory import RunDirectory
from lst_jax.step.schedules.registry import schedule_of
from lst_jax.storage import objects
from lst_jax.storage.place import Place

POINTS = "points.jsonl"
# measure -> the kind of held-out source, the mode, and the figure
LOSSES = {
    "loss_speech": ("utterance", "speech", "bits_per_second_speech"),
    "loss_text": ("text", "text", "bits_per_text_token"),
}
ACCURACIES = {"accuracy_speech": "completion/s2s", "accuracy_text": "completion/t2t"}
RULE = "mean"  # of completion choice: per token


def points_of(runs: Place, found: Sequence[Status]) -> list[dict[str, Any]]:
    """A point for each run that is done. Raises: DataError where none is.

    A trunk whose learning rate has never decayed is no point: its loss is not what its tokens can buy.
    """
    trunks = {s.trial.trunk for s in found}
    done = [s.trial for s in found if s.state == "done"]
    done = [trial for trial in done if trial.name not in trunks or _has_decayed(trial)]
    points = [_point(RunDirectory(runs / trial.name), trial) for trial in done]
    if not points:
        raise DataError(f"{runs}: no run is done; run the sweep first")
    return points


def _has_decayed(trial: Trial) -> bool:
    optim = trial.config().optim
    return trial.steps not in schedule_of(optim).stable(optim, trial.steps)


def _point(run: RunDirectory, trial: Trial) -> dict[str, Any]:
    """N is all parameters, D all tokens trained on, C the analytic FLOPs of the records' own batches over all steps.
    `seconds` are those of all steps at their median, on the machine at hand, without evaluation, saving or compiling.

    Losses are of the first held-out source of each kind, whole documents of one modality: bits per second of speech,
    bits per text token. Accuracies are completion choice S→S and T→T, where the recipe has it.
    """
    config, records = run.load_config(), run.read_metrics()
    if config_hash(config) != trial.config_hash:
        raise DataError(
            f"{run.config_path}: is of configuration {config_hash(config)}, the sweep has "
            f"{trial.config_hash} under this name; give the folder of this sweep's runs"
        )
    if trial.trunk is not None:  # the steps that both share are recorded there
        records = RunDirectory(run.path.parent / trial.trunk).read_metrics(up_to_step=trial.branch_step) + records
    trained = [r for r in records if r["kind"] == "train"]
    last = [r for r in records if r["kind"] == "eval"][-1]
    measures = {}
    for name, (kind, mode, key) in LOSSES.items():
        source = next((s.name for s in config.eval.sources if s.kind == kind), "")
        measures[name] = last.get(f"heldout/{eval_label(source, mode)}/{key}")
    items = [last[f"{where}/items"] for where in ACCURACIES.values() if f"{where}/items" in last]
    if items:
        measures |= {name: last.get(f"{where}/{RULE}") or None for name, where in ACCURACIES.items()}
        measures["items"] = min(items)
    return {
        "run": trial.name,
        "system": trial.label,
        "parameters": trial.parameters,
        "tokens": trained[-1]["tokens_so_far"],
        "flops": statistics.fmean(r["flops"] for r in trained) * trial.steps,
        "seconds": statistics.median(r["seconds_per_step"] for r in trained) * trial.steps,
        **measures,
        "config_hash": trial.config_hash,
        "commit": run.read_starts()[-1]["commit"],
    }


def write_points(folder: Place, runs: Place) -> Place:
    """Writes the points of a sweep's finished runs, which lie in `runs`; returns the file."""
    points = points_of(runs, status_of(runs, read_sweep(folder).trials))
    objects.write_text(folder / POINTS, "".join(json.dumps(point) + "\n" for point in points))
    return folder / POINTS
