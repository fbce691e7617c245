"""An sbatch script for GPUs: a process for each GPU, which is what JAX expects under SLURM."""

import pathlib

from lst_jax.core.errors import RESTART_EXIT_CODE
from lst_jax.jobs.launch.job import FIRST_SIGNAL_CODE, Job, need
from lst_jax.jobs.launch.shell import VALUES_ARE_QUOTED, assignments, set_arguments
from lst_jax.jobs.launch.target import Target

BODY = pathlib.Path(__file__).with_name("slurm.sh")


def render(job: Job) -> dict[str, str]:
    """The files of a job: name -> text. Raises: ConfigError where the cluster's description lacks something."""
    slurm, cluster = need(job, "slurm", "slurm"), job.cluster
    options = [
        f"--job-name={job.name}",
        f"--nodes={slurm.nodes}",
        f"--ntasks-per-node={slurm.gpus_per_node}",
        f"--gpus-per-node={slurm.gpus_per_node}",
        f"--partition={slurm.partition}",
        f"--time={slurm.time}",
        *([f"--account={slurm.account}"] if slurm.account is not None else []),
        "--exclusive",
        "--requeue",
        "--open-mode=append",
        f"--output={job.name}-%j.log",
        f"--signal=TERM@{cluster.grace_seconds}",  # to the processes, before the time is up
    ]
    lines = [
        "#!/bin/bash",
        *job.comments,
        f"# sbatch {job.name}.sbatch",
        *(f"#SBATCH {o}" for o in options),
        VALUES_ARE_QUOTED,
        "set -u",
    ]
    variables = assignments(
        WORKDIR=cluster.workdir,
        GRACE=cluster.grace_seconds,
        MAX_RESTARTS=cluster.max_restarts,
        RESTART_CODE=RESTART_EXIT_CODE,
        FIRST_SIGNAL_CODE=FIRST_SIGNAL_CODE,
    )
    env = ["env", *cluster.env] if cluster.env else []
    text = "\n".join(lines) + f"\n{variables}{set_arguments([*env, *job.command])}\n{BODY.read_text()}"
    return {f"{job.name}.sbatch": text}


TARGET = Target("slurm", "an sbatch script, for GPUs", render)
