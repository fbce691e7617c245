"""A sweep in words and tables."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from lst_jax.core.text_table import columns
from lst_jax.data.patching import strategy_of
from lst_jax.jobs.sweeps.status import Status, summary
from lst_jax.jobs.sweeps.trials import Trial

RUNS = ("run", "parameters", "steps", "tokens", "FLOPs", "of", "changes")
STATES = ("run", "step", "state", "starts", "loss")


def runs_table(trials: Sequence[Trial]) -> str:
    """A line per run with its length and cost, a branch's trunk included; ends with the sum of what is trained."""
    rows = [
        [
            t.name,
            f"{t.parameters:,}",
            f"{t.steps:,}",
            f"{t.tokens:.3g}",
            f"{t.flops:.3g}",
            t.label,
            " ".join([*t.changes, *([f"from step {t.branch_step} of {t.trunk}"] if t.trunk else [])]),
        ]
        for t in trials
    ]
    return "\n".join([*columns([RUNS, *rows], right=(1, 2, 3, 4)), totals(trials)])


def totals(trials: Sequence[Trial]) -> str:
    """One line: what all runs together take, and what records say so. A trunk counts once."""
    tokens, flops = (sum(getattr(t, name) * t.own_share for t in trials) for name in ("tokens", "flops"))
    content = "; ".join(dict.fromkeys(t.content for t in trials))
    return f"{len(trials)} runs, {tokens:.3g} tokens, {flops:.3g} FLOPs, {content}"


def unfinished(trials: Sequence[Trial]) -> str:
    """The first run that is too short for its curriculum, and how many there are; empty where there is none.

    Raises: ConfigError as `Trial.config`.
    """
    configs = {trial.name: trial.config() for trial in trials}
    said = {name: strategy_of(one.data.patching).unfinished(one.train.steps) for name, one in configs.items()}
    found = [f"{name}: {sentence}" for name, sentence in said.items() if sentence]
    return "" if not found else found[0] + (f" ({len(found) - 1} more runs likewise)" if len(found) > 1 else "")


def status_table(found: Sequence[Status]) -> str:
    """How far the runs are; ends with the counts."""
    rows = [
        [
            s.trial.name,
            f"{s.step:,} of {s.trial.steps:,}",
            s.state,
            str(s.starts),
            "" if s.loss is None else f"{s.loss:.3f}",
        ]
        for s in found
    ]
    return "\n".join([*columns([STATES, *rows], right=(1, 3, 4)), summary(found)])


def as_json(found: Sequence[Status]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "run": s.trial.name,
            "label": s.trial.label,
            "state": s.state,
            "step": s.step,
            "steps": s.trial.steps,
            "starts": s.starts,
            "loss": s.loss,
        }
        for s in found
    ]


def print_plans(
    plans: Iterator[tuple[Trial, Any]], count: int, chosen: dict[str, tuple[str, ...]] | None = None
) -> int:
    """Prints a line per run as its plan is made, then the total of chip-hours; 0 where every run fits, else 1.

    Args: `chosen`: of plans that were searched; it is filled with the changes of each run's recipe, which are printed.
    """
    from lst_jax.cost import plan_text, search

    made = []
    with tqdm(total=count, desc="plan", unit="run") as progress:
        for trial, plan in plans:
            progress.write(f"  {trial.name}: {plan_text.verdict(plan)}", file=sys.stdout)
            made.append(plan)
            if chosen is not None:
                chosen[trial.name] = search.changes(plan)
                progress.write(f"    {' '.join(chosen[trial.name])}", file=sys.stdout)
            progress.update()
    fitting = [plan for plan in made if plan.fits]
    print(
        f"{len(made)} runs, {sum(plan.chip_hours for plan in fitting):,.0f} chip-hours by estimate"
        + (f"; {len(made) - len(fitting)} do not fit, and are not in it" if len(fitting) < len(made) else "")
    )
    return 0 if len(fitting) == len(made) else 1
