"""The ways to start a job, by the names that `--to` takes."""

import importlib
from types import ModuleType

TARGETS = {
    "jobset": "a GKE JobSet, for TPUs",
    "queued-resource": "gcloud commands and a script that goes on after preemptions, for TPUs without Kubernetes",
    "xpk": "an xpk command line, for TPUs",
    "slurm": "an sbatch script, for GPUs",
}


def renderer(name: str) -> ModuleType:
    """The module whose `render(job)` writes a job's files; `name` is one of `TARGETS`."""
    return importlib.import_module(f"lst_jax.jobs.launch.{name.replace('-', '_')}")
