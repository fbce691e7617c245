"""`lst bench systems`: the systems of a recipe trained on the same data for the same FLOPs, in one table.

FLOPs are the analytic ones of every batch that a run takes (`scaling.flops`): a system whose steps are cheaper takes
more of them. Schedules and curricula keep their shape: τ1 and τ2 move with the number of steps. Each run is an ordinary
run directory, so a command that was stopped goes on where it was, and `lst report` shows each of them.
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
from lst_jax.train import loop

PACKAGES = ("jax", "flax", "optax", "numpy")
LAST = 20  # training losses that are averaged
HELD_OUT = ("bits_per_second_speech", "bits_per_text_token")


def compare(recipe: str, systems: Sequence[str], steps: int, folder: str) -> dict[str, Any]:
    """Trains every system of the recipe in `folder/SYSTEM`; `steps` are those of the first one.

    Raises: ConfigError; whatever training raises.
    """
    configs = [load_recipe(f"{recipe}:{system}") for system in systems]
    reference = at_length(configs[0], steps)
    flops = budget.run_flops(reference)
    rows = []
    for system, config in zip(systems, configs, strict=True):
        config = reference if config is configs[0] else with_flops(config, flops)
        rows.append({"system": system, **trained(RunDirectory(f"{folder}/{system}"), config)})
    return {"recipe": recipe, "flops": flops, "systems": rows}


def precision(recipe: str, steps: int, folder: str) -> dict[str, Any]:
    """One recipe in float32 and in bfloat16 over the same batches, and how far their curves part."""
    rows, losses = [], []
    for dtype in ("float32", "bfloat16"):
        config = at_length(load_recipe(recipe), steps)
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, compute_dtype=dtype))
        run = RunDirectory(f"{folder}/{dtype}")
        rows.append({"system": dtype, **trained(run, config)})
        losses.append([r["loss"] for r in run.read_metrics() if r["kind"] == "train"])
    return {"recipe": recipe, "steps": steps, "systems": rows, **band(*losses)}


def band(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How far two loss curves part, in shares of the first's: step by step, and as means over `LAST` steps.

    Example: band([2.0] * 40, [2.02] * 40) -> {"step": 0.01, "mean": 0.01}
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    window = np.ones(min(LAST, len(ours))) / min(LAST, len(ours))
    smooth = [np.convolve(curve, window, "valid") for curve in (ours, theirs)]
    return {"step": float(np.max(np.abs(theirs / ours - 1))), "mean": float(np.max(np.abs(smooth[1] / smooth[0] - 1)))}


def at_length(config: Config, steps: int) -> Config:
    """The run with `steps` steps and one evaluation, at the end.

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
    """The run at the length whose batches take about so many FLOPs, and one evaluation, at the end."""
    return at_length(config, budget.apply(config, f"flops={flops}").train.steps)


def trained(run: RunDirectory, config: Config) -> dict[str, Any]:
    """Trains the run, or finds that it is, and takes its numbers from its records."""
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


def markdown(measured: dict[str, Any]) -> str:
    """The body of a section in docs/results.md."""
    header = [
        "",
        "steps",
        "FLOPs",
        "tokens",
        "unit positions a token",
        f"loss, last {LAST} steps",
        "held-out bits/s of speech",
        "held-out bits a text token",
    ]
    rows = [
        [
            f"`{r['system']}`",
            f"{r['steps']}",
            f"{r['flops'] / 1e12:.2f} T",
            f"{r['tokens']:,}",
            f"{r['patches_per_token']:.3f}",
            f"{r['loss']:.3f}",
            *("–" if r.get(key) is None else f"{r[key]:.2f}" for key in HELD_OUT),
        ]
        for r in measured["systems"]
    ]
    notes = [
        f"`{measured['recipe']}`; loss in nats a token of the system's own sequence. Held-out speech "
        "is split into static patches where the system has a choice."
    ]
    if "step" in measured:
        notes.append(
            f"Largest difference between the two curves of training loss: {measured['step']:.2%} at a step, "
            f"{measured['mean']:.2%} between means over {LAST} steps."
        )
    return "\n\n".join([*notes, results_file.table(header, rows)])
