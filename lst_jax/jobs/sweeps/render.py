"""A sweep on pods: one job per run through `launch`, and the least that all of them cost through `plan`."""

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lst_jax.core.errors import ConfigError
from lst_jax.jobs.launch.cluster import Cluster
from lst_jax.jobs.launch.job import LONGEST_NAME, Job, make_job, run_in
from lst_jax.jobs.launch.target import Target
from lst_jax.jobs.sweeps.status import RUNS
from lst_jax.jobs.sweeps.trials import HASH_DIGITS, Trial
from lst_jax.storage.place import Place


def jobs_of(
    folder: Place, trials: Sequence[Trial], cluster: Cluster, chosen: Mapping[str, Sequence[str]] | None = None
) -> list[Job]:
    """One job per run, whose run directory is run_root/SWEEP/runs/NAME on the cluster; trunks before their branches.

    Args: `chosen`: by the name of a run further changes of how it is computed, as `cost.search.changes` gives them.
    Raises: ConfigError, also where the mesh of a run does not fit the cluster.
    """
    found = []
    for trial in trials:
        trial.config()  # still what the sweep was made with
        runs = f"{folder.name}/{RUNS}"
        changes = trial.changes_in(run_in(cluster.run_root, runs))
        changes = (*changes, *(chosen or {}).get(trial.name, ()))
        try:
            found.append(make_job(f"{runs}/{trial.name}", trial.recipe, cluster, job_name(trial), changes))
        except ConfigError as error:
            raise ConfigError(f"{trial.name}: {error}") from error
    return found


def job_name(trial: Trial) -> str:
    """The run's name, shortened to what a job's name may have; the hash stays. Example: "lst-1b-curriculum-3f2a91c0"."""
    plain = re.sub(r"[^a-z0-9]+", "-", trial.name[: -HASH_DIGITS - 1].lower()).strip("-")
    return f"{plain[: LONGEST_NAME - HASH_DIGITS - 1].rstrip('-')}-{trial.config_hash[:HASH_DIGITS]}"


def files_of(jobs: Sequence[Job], target: Target) -> Iterator[tuple[str, str]]:
    """(name, text) of every file, each job's in a folder of its name. Raises: ConfigError."""
    for job in jobs:
        for name, text in target.render(job).items():
            yield f"{job.name}/{name}", text


def topology_of(cluster: Cluster) -> tuple[str, int]:
    """A cluster's slices as `lst plan` takes them. Raises: ConfigError for GPUs, which nothing here compiles for."""
    if cluster.tpu is None:
        raise ConfigError(f"kind={cluster.kind!r}: costs are of compiled TPU programs; leave --dry-run out")
    return f"{cluster.kind}:{cluster.tpu.topology}", cluster.tpu.slices


def plans_of(
    trials: Sequence[Trial], cluster: Cluster, quick: bool, searched: bool = False
) -> Iterator[tuple[Trial, Any]]:
    """The plan of every run; programs that differ in numbers only are compiled once.

    Args: `searched`: of the fastest mesh, remat policy and number of parts, which is compiled many times.
    """
    from lst_jax.cost.plan import make_plan
    from lst_jax.cost.search import best, search

    topology, slices = topology_of(cluster)
    compiled = {}
    for trial in trials:
        config = trial.config()
        patching = dataclasses.replace(config.data.patching, tau1=0, tau2=0)
        shape = (
            config.vocab,
            config.model,
            config.mesh,
            dataclasses.replace(config.data, patching=patching),
            dataclasses.replace(config.train, steps=1, branch_from=None),
        )
        if shape not in compiled:
            compile_it = functools.partial(make_plan, trial.recipe, topology_name=topology, slices=slices, quick=quick)
            compiled[shape] = best(list(search(config, compile_it))) if searched else compile_it(config)
        yield trial, dataclasses.replace(compiled[shape], steps=trial.steps - trial.branch_step)
