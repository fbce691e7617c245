"""What a launch target is: a way to start a job that renders the job's files."""

import dataclasses
from collections.abc import Callable

from lst_jax.jobs.launch.job import Job


@dataclasses.dataclass(frozen=True)
class Target:
    """One way to start a job. The members are in the modules beside this one, and `targets.py` knows them all."""

    name: str  # what `--to` takes
    description: str  # for `--help`: "a GKE JobSet, for TPUs"
    render: Callable[[Job], dict[str, str]]  # file name -> text; raises ConfigError where the cluster lacks something
