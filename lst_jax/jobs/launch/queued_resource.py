"""Queued resources of Cloud TPU: gcloud's commands, and a babysitter that goes on with them after a preemption."""

import pathlib
import shlex

from lst_jax.core.errors import RESTART_EXIT_CODE
from lst_jax.core.strict import fail
from lst_jax.jobs.launch.job import FIRST_SIGNAL_CODE, Job, need, shell_line
from lst_jax.jobs.launch.shell import VALUES_ARE_QUOTED, assignments, function
from lst_jax.jobs.launch.target import Target

BODY = pathlib.Path(__file__).with_name("babysit.sh")
RESOURCES = ("compute", "tpus", "queued-resources")
GCLOUD = ("gcloud", *RESOURCES)
GCLOUD_ALPHA = ("gcloud", "alpha", *RESOURCES)  # which alone takes --provisioning-model
# A host's process waits for those of all others: each connection must be open at once. Left out, it is 64 at a time.
ALL_HOSTS = ("--node=all", "--worker=all", "--batch-size=all")
PAUSE = 30  # seconds between two looks at the queue
# A connection may break before its process does; the next one waits for the chips instead of failing on them.
LOCK = ("flock", "--no-fork", "/tmp/lst-launch.lock")
REPORT = 'printf \'\\nlst launch: exit code %s on %s\\n\' "$?" "$(hostname)"'  # gcloud gives one code for all hosts


def render(job: Job) -> dict[str, str]:
    """The files of a job: name -> text. Raises: ConfigError where the cluster's description lacks something."""
    tpu, google = need(job, "tpu", "queued-resource"), need(job, "google", "queued-resource")
    if google.runtime_version is None:
        fail("google.runtime_version", None, "needed by --to queued-resource", "add one such as v2-alpha-tpuv6e")
    generation = job.cluster.generation
    if generation.gcloud_name is None:
        fail("kind", job.cluster.kind, "queued resources do not have it", "use --to jobset or --to xpk")
    usual = generation.usual_chips_per_host(tpu.topology)
    if tpu.chips_per_host != usual:
        fail("tpu.chips_per_host", tpu.chips_per_host, f"outside of GKE, {tpu.topology} is one host", f"use {usual}")
    where = [f"--project={google.project}", f"--zone={google.zone}"]
    creator = GCLOUD_ALPHA if tpu.capacity == "flex-start" else GCLOUD
    functions = [
        function("create", [*creator, "create", job.name, *where, *_what(job)]),
        function("state", [*GCLOUD, "describe", job.name, *where, "--format=value(state.state)"]).replace(
            "\n}\n", " 2>/dev/null || true # nothing where there is none\n}\n"
        ),
        function("train", [*GCLOUD, "ssh", job.name, *where, *ALL_HOSTS, f"--command={_remote(job)}"]),
        function("delete", [*GCLOUD, "delete", job.name, *where, "--force", "--quiet"]),
    ]
    head = [
        "#!/bin/sh",
        *job.comments,
        f"# sh {job.name}.sh            asks for the machines, trains, and goes on after preemptions",
        f"# sh {job.name}.sh COMMAND    one of them: create, state, train, delete",
        VALUES_ARE_QUOTED,
        "set -eu",
    ]
    variables = assignments(
        NAME=job.name,
        HOSTS=tpu.hosts * tpu.slices,
        MAX_RESTARTS=job.cluster.max_restarts,
        RESTART_CODE=RESTART_EXIT_CODE,
        FIRST_SIGNAL_CODE=FIRST_SIGNAL_CODE,
        PAUSE=PAUSE,
    )
    return {f"{job.name}.sh": "\n".join(head) + f"\n{variables}\n" + "\n".join(functions) + BODY.read_text()}


def _what(job: Job) -> list[str]:
    """The options of `create` that say what is asked for."""
    tpu, google, generation = job.cluster.tpu, job.cluster.google, job.cluster.generation
    if generation.torus_axes == 3:  # a number of chips has several topologies
        shape = [f"--type={generation.gcloud_name}", f"--topology={tpu.topology}"]
    else:
        shape = [f"--accelerator-type={generation.gcloud_name}-{tpu.chips * generation.tensorcores_per_chip}"]
    nodes = (
        [f"--node-id={job.name}"] if tpu.slices == 1 else [f"--node-count={tpu.slices}", f"--node-prefix={job.name}"]
    )
    flex = ["--provisioning-model=flex-start"]
    if tpu.max_run_seconds is not None:
        flex.append(f"--max-run-duration={tpu.max_run_seconds}s")
    capacity = {"on-demand": [], "spot": ["--spot"], "reserved": ["--reserved"], "flex-start": flex}[tpu.capacity]
    account = [] if google.service_account is None else [f"--service-account={google.service_account}"]
    return [*shape, f"--runtime-version={google.runtime_version}", *nodes, *capacity, *account]


def _remote(job: Job) -> str:
    """What every host does. Its code is printed, because gcloud hands on only one."""
    setup = [] if job.cluster.google.setup is None else [f"sh -c {shlex.quote(job.cluster.google.setup)}"]
    return f"({' && '.join([*setup, shell_line(job, LOCK)])}); {REPORT}"


TARGET = Target(
    "queued-resource",
    "gcloud commands and a script that goes on after preemptions, for TPUs without Kubernetes",
    render,
)
