"""An `xpk workload create` command line; xpk itself starts jobs again on 42 and on 127 and more."""

import math
import shlex

from lst_jax.core.strict import fail
from lst_jax.jobs.launch.cluster import Kubernetes
from lst_jax.jobs.launch.job import Job, need, shell_line
from lst_jax.jobs.launch.shell import VALUES_ARE_QUOTED
from lst_jax.jobs.launch.target import Target

# Cubes of 4x4x4 that the largest slice of a kind has, by xpk's core/system_characteristics.py (June 2026). Since then a
# type is a kind and a topology, v5p-4x4x8, and no longer one topology for each number of TensorCores.
MOST_CUBES = {"v4": 64, "v5p": 140, "tpu7x": 144}
NOT_IN_XPK = {"v5e": ("1x1", "2x2")}
CUBE_CHIPS = 64
PRIORITIES = ("very-low", "low", "medium", "high", "very-high")


def render(job: Job) -> dict[str, str]:
    """The files of a job: name -> text. Raises: ConfigError where the cluster's description lacks something."""
    tpu, pods, google = (need(job, section, "xpk") for section in ("tpu", "kubernetes", "google"))
    _check_topology(job)
    _check_pods(pods)
    if pods.bucket is not None:
        fail(
            "kubernetes.bucket",
            pods.bucket,
            "xpk mounts what `xpk storage attach` made known",
            "attach the bucket there and leave it out, or use --to jobset",
        )
    generation = job.cluster.generation
    # xpk else starts a container for each of the two chiplets; a process of ours has all devices of its host
    containers = ["--no-use-parallel-containers"] if generation.devices_per_chip > 1 else []
    capacity = {
        "on-demand": ["--on-demand"],
        "spot": ["--spot"],
        "flex-start": ["--flex"],
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
        f"--tpu-type={generation.xpk_name}-{tpu.topology}",
        f"--num-slices={tpu.slices}",
        f"--docker-image={pods.image}",
        *capacity,
        *containers,
        *_options(pods),
        f"--max-restarts={job.cluster.max_restarts}",
        f"--termination-grace-period-seconds={job.cluster.grace_seconds}",
        f"--command={shell_line(job)}",
    ]
    comments = "\n".join(job.comments)
    head, options = " ".join(words[:3]), [shlex.quote(word) for word in words[3:]]
    lines = " \\\n  ".join([head, *options])
    return {f"{job.name}.sh": f"#!/bin/sh\n{comments}\n{VALUES_ARE_QUOTED}\n{lines}\n"}


def _check_topology(job: Job) -> None:
    """Raises: ConfigError where xpk has no such slice, or makes other hosts of it."""
    tpu, kind = job.cluster.tpu, job.cluster.kind
    if tpu.chips > CUBE_CHIPS * MOST_CUBES.get(kind, math.inf) or tpu.topology in NOT_IN_XPK.get(kind, ()):
        fail("tpu.topology", tpu.topology, f"xpk has no such slice of {kind}", "use another, or --to jobset")
    chips = 1 if tpu.chips == 1 else 4
    if tpu.chips_per_host != chips:
        fail("tpu.chips_per_host", tpu.chips_per_host, f"xpk makes hosts of {chips}", f"use {chips}, or --to jobset")


def _check_pods(pods: Kubernetes) -> None:
    """Raises: ConfigError where pods are to be what xpk cannot make them."""
    for name in ("host_network", "privileged"):
        if getattr(pods, name) is False:
            fail(f"kubernetes.{name}", False, "xpk's pods have it always", "leave it out, or use --to jobset")
    for name in ("secrets", "placement_policy"):
        if getattr(pods, name):
            fail(f"kubernetes.{name}", getattr(pods, name), "xpk has no option for it", "use --to jobset")
    if pods.priority not in (None, *PRIORITIES):
        fail("kubernetes.priority", pods.priority, "xpk has other classes", f"use one of {', '.join(PRIORITIES)}")


def _options(pods: Kubernetes) -> list[str]:
    """The options for what of the pods can be left out."""
    pairs = {
        "docker-image-pull-secret": pods.pull_secret,
        "priority": pods.priority,
        "ttl-seconds-after-finished": pods.ttl_seconds,
    }
    return [f"--{name}={value}" for name, value in pairs.items() if value is not None]


TARGET = Target("xpk", "an xpk command line, for TPUs", render)
