"""`lst bench systems`: the systems of a recipe trained on the same data for the same FLOPs, and for the same time.

FLOPs are the analytic ones of every batch that a run takes (`scaling.flops`): a system whose steps are cheaper takes
more of them. The same time is that of the first system's run, at the median seconds of a step that each system has on
this machine; each other system is trained once more, for as many of its own steps. Schedules and curricula keep their
shape: τ1 and τ2 move with the number of steps. Each run is an ordinary run directory, so a command that was stopped
goes on where it was, and `lst report` shows each of them.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from lst_jax.config import Config
from lst_jax.core.errors import ConfigError
from lst_jax.cost import budget
from lst_jax.data.packing import eval_label
from lst_jax.recipes.load import load_recipe
from lst_jax.report import results_file
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import in_words
from lst_jax.train import loop

PACKAGES = ("jax", "flax", "optax", "numpy")
LAST = 20  # how many of the last training losses are averaged
HELD_OUT = ("bits_per_second_speech", "bits_per_text_token")
# name -> model.compute_dtype and train.matmul
PRECISIONS = {
    "float32": ("float32", "plain"),
    "bfloat16": ("bfloat16", "plain"),
    "int8": ("bfloat16", "int8"),
    "fp8": ("bfloat16", "fp8"),
}
BAND_COLUMNS = ("at a step", f"over {LAST} steps")
TIME_COLUMNS = ("ms per step", "steps at equal time", "speech at equal time", "text at equal time")


def compare(recipe: str, systems: Sequence[str], steps: int, folder: str) -> dict[str, Any]:
    """Trains every system of the recipe in `folder/SYSTEM`, and for equal time in `folder/SYSTEM-equal-time`.

    `steps` is the length of the first one's run.
    Raises: ConfigError; whatever training raises.
    """
    configs = [load_recipe(f"{recipe}:{system}") for system in systems]
    reference = at_length(configs[0], steps)
    flops = budget.run_flops(reference)
    rows, lengths = [], [reference, *(with_flops(config, flops) for config in configs[1:])]
    for system, config in zip(systems, lengths, strict=True):
        rows.append({"system": system, **trained(RunDirectory(f"{folder}/{system}"), config)})
    seconds = rows[0]["steps"] * rows[0]["seconds_per_step"]
    for row, config in zip(rows, lengths, strict=True):
        row["equal_time"] = at_equal_time(row, config, seconds, folder)
    return {"recipe": recipe, "flops": flops, "seconds": seconds, "systems": rows}


def at_equal_time(row: dict[str, Any], config: Config, seconds: float, folder: str) -> dict[str, Any]:
    """The same system trained for as many steps as take so long here: its own row where that is as many as it has."""
    steps = max(config.optim.warmup_steps + 1, round(seconds / row["seconds_per_step"]))
    if steps != row["steps"]:
        row = trained(RunDirectory(f"{folder}/{row['system']}-equal-time"), at_length(config, steps))
    return {key: row[key] for key in ("steps", "tokens", "flops", *HELD_OUT) if key in row}


def precision(recipe: str, changes: Sequence[str], steps: int, folder: str) -> dict[str, Any]:
    """One recipe in each of `PRECISIONS` over the same batches, and how far each loss curve is from that of float32.

    Args: `changes` of the recipe, as `load_recipe` takes them.
    """
    rows, losses = [], []
    for name, (dtype, matmul) in PRECISIONS.items():
        config = at_length(load_recipe(recipe, changes), steps)
        config = dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, compute_dtype=dtype),
            train=dataclasses.replace(config.train, matmul=matmul),
        )
        run = RunDirectory(f"{folder}/{name}")
        rows.append({"system": name, **trained(run, config)})
        losses.append([r["loss"] for r in run.read_metrics() if r["kind"] == "train"])
        rows[-1]["band"] = band(losses[0], losses[-1])
    return {"recipe": recipe, "steps": steps, "systems": rows}


def band(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The largest relative difference of two loss curves: at one step, and between means over `LAST` steps.

    Example: band([2.0] * 40, [2.02] * 40) -> {"step": 0.01, "mean": 0.01}
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    window = np.ones(min(LAST, len(ours))) / min(LAST, len(ours))
    smooth = [np.convolve(curve, window, "valid") for curve in (ours, theirs)]
    return {"step": float(np.max(np.abs(theirs / ours - 1))), "mean": float(np.max(np.abs(smooth[1] / smooth[0] - 1)))}


def at_length(config: Config, steps: int) -> Config:
    """The run with `steps` steps, and one evaluation at the end.

    Raises: ConfigError where the warm-up does not fit.
    """
    if steps <= config.optim.warmup_steps:
        raise ConfigError(
            f"steps={steps}: must be more than optim.warmup_steps={config.optim.warmup_steps}; "
            f"use {10 * config.optim.warmup_steps}"
        )
    return dataclasses.replace(
        budget.with_steps(config, steps), eval=dataclasses.replace(config.eval, every=steps, completion_items=0)
    )


def with_flops(config: Config, flops: float) -> Config:
    """The run with about `flops` FLOPs in total, and one evaluation at the end."""
    return at_length(config, budget.apply(config, f"flops={flops}").train.steps)


def trained(run: RunDirectory, config: Config) -> dict[str, Any]:
    """Trains the run, unless it is trained already, and takes its numbers from its records."""
    if loop.train(run, config):
        raise KeyboardInterrupt
    records = run.read_metrics()
    steps = [r for r in records if r["kind"] == "train"]
    evaluation = [r for r in records if r["kind"] == "eval"][-1]
    spoken = [s.name for s in config.eval.sources if s.kind == "utterance"][:1]
    written = [s.name for s in config.eval.sources if s.kind == "text"][:1]
    labels = [eval_label(name, "speech") for name in spoken] + written
    return {
        "steps": len(steps),
        "flops": budget.run_flops(config),
        "tokens": steps[-1]["tokens_so_far"],
        "patches_per_token": sum(r["patches"] for r in steps) / sum(r["tokens"] for r in steps),
        "loss": statistics.mean(r["loss"] for r in steps[-LAST:]),
        "seconds_per_step": statistics.median(r["seconds_per_step"] for r in steps),
        **{key: evaluation.get(f"heldout/{label}/{key}") for label, key in zip(labels, HELD_OUT, strict=False)},
    }


def held_out(row: dict[str, Any]) -> list[str]:
    """The cells of the held-out losses; a dash for one that the recipe does not measure."""
    return ["–" if row.get(key) is None else f"{row[key]:.2f}" for key in HELD_OUT]


def markdown(measured: dict[str, Any]) -> str:
    """The body of a section in docs/results.md."""
    timed, compared = "seconds" in measured, all("band" in r for r in measured["systems"])
    header = [
        "",
        "steps",
        "FLOPs",
        "tokens",
        "patch positions per token",
        f"loss, last {LAST} steps",
        "held-out bits/s of speech",
        "held-out bits per text token",
        *(TIME_COLUMNS if timed else ()),
        *(BAND_COLUMNS if compared else ()),
    ]
    rows = [
        [
            f"`{r['system']}`",
            f"{r['steps']}",
            f"{r['flops'] / 1e12:.2f} T",
            f"{r['tokens']:,}",
            f"{r['patches_per_token']:.3f}",
            f"{r['loss']:.3f}",
            *held_out(r),
            *(
                [f"{1e3 * r['seconds_per_step']:.0f}", str(r["equal_time"]["steps"]), *held_out(r["equal_time"])]
                if timed
                else ()
            ),
            *([f"{r['band']['step']:.2%}", f"{r['band']['mean']:.2%}"] if compared else ()),
        ]
        for r in measured["systems"]
    ]
    notes = [
        f"`{measured['recipe']}`; loss in nats per token of the system's own sequence. Held-out speech "
        "is split into static patches where the system has a choice."
    ]
    if timed:
        notes.append(
            f"At equal time each system trains for {in_words(measured['seconds'])} of this machine: as many steps as take "
            "that long at its own median time of a step."
        )
    if compared:
        notes.append(
            f"The last two columns are the largest differences from the first curve of training loss: at a step, and "
            f"between means over {LAST} steps."
        )
    return "\n\n".join([*notes, results_file.table(header, rows)])
