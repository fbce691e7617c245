"""An `xpk workload create` command line; xpk itself starts jobs again on 42 and on 127 and more."""

import shlex

from lst_jax.core.strict import fail
from lst_jax.jobs.launch.job import Job, need, shell_line
from lst_jax.jobs.launch.shell import VALUES_ARE_QUOTED
from lst_jax.jobs.launch.target import Target

# xpk takes a type by its number of TensorCores, and has one topology for each number.
TOPOLOGIES_3D = (
    "2x2x1",
    "2x2x2",
    "2x2x4",
    "2x4x4",
    "4x4x4",
    "4x4x8",
    "4x8x8",
    "8x8x8",
    "8x8x16",
    "8x16x16",
    "16x16x16",
)


def render(job: Job) -> dict[str, str]:
    """The files of a job: name -> text. Raises: ConfigError where the cluster's description lacks something."""
    tpu, pods, google = (need(job, section, "xpk") for section in ("tpu", "kubernetes", "google"))
    generation = job.cluster.generation
    if generation.torus_axes == 3 and tpu.topology not in TOPOLOGIES_3D:
        fail(
            "tpu.topology",
            tpu.topology,
            "xpk chooses the topology by the number of chips, and has another",
            f"use one of {', '.join(TOPOLOGIES_3D)}, or --to jobset",
        )
    if pods.bucket is not None:
        fail(
            "kubernetes.bucket",
            pods.bucket,
            "xpk mounts what `xpk storage attach` made known",
            "attach the bucket there and leave it out, or use --to jobset",
        )
    capacity = {
        "on-demand": ["--on-demand"],
        "spot": ["--spot"],
        "reserved": [] if tpu.reservation is None else [f"--reservation={tpu.reservation}"],
    }[tpu.capacity]
    words = [
        "xpk",
        "workload",
        "create",
        f"--cluster={job.cluster.name}",
        f"--project={google.project}",
        f"--zone={google.zone}",
        f"--workload={job.name}",
        f"--tpu-type={generation.xpk_name}-{tpu.chips * generation.tensorcores_per_chip}",
        f"--num-slices={tpu.slices}",
        f"--docker-image={pods.image}",
        *capacity,
        f"--max-restarts={job.cluster.max_restarts}",
        f"--termination-grace-period-seconds={job.cluster.grace_seconds}",
        f"--command={shell_line(job)}",
    ]
    head, options = " ".join(words[:3]), [shlex.quote(word) for word in words[3:]]
    lines = " \\\n  ".join([head, *options])
    return {f"{job.name}.sh": f"#!/bin/sh\n# {job.summary}\n{VALUES_ARE_QUOTED}\n{lines}\n"}


TARGET = Target("xpk", "an xpk command line, for TPUs", render)
