"""A cluster: what a job runs on, read strictly from a small TOML or JSON file (examples: `launch/*.toml`).

A field that may be None can be left out. Any other missing field is an error, and so is an unknown one.
Beside the common fields, each target of `--to` needs sections: [tpu] and [kubernetes] for a JobSet, [tpu] and [google]
for queued resources, all three for xpk, and [slurm] for GPUs.
"""

import dataclasses
import math
import os
import re
import tomllib
import typing
from typing import Any, Literal

from lst_jax.core import json_files
from lst_jax.core.errors import ConfigError, first_line
from lst_jax.core.strict import build, fail, nearest
from lst_jax.cost.accelerators import registry
from lst_jax.cost.accelerators.kinds import TpuGeneration, sides_of
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place, to_run_place

GPU = "gpu"  # the kind of a cluster of GPUs; the other kinds are generations of TPUs


@dataclasses.dataclass(frozen=True)
class Tpu:
    """Slices of TPU chips, all alike."""

    topology: str  # chips along each side of a slice: "4x4x4" for v4, v5p and tpu7x, "16x16" for v5e and v6e
    chips_per_host: int
    slices: int
    capacity: Literal["on-demand", "spot", "reserved", "flex-start"]
    reservation: str | None  # its name, for "reserved" on Kubernetes; queued resources take the project's own
    max_run_seconds: int | None  # for "flex-start": how long the machines are asked for; Google's bound is seven days

    @property
    def chips(self) -> int:
        """Chips of one slice. Example: 4x4x4 -> 64."""
        return math.prod(sides_of(self.topology))

    @property
    def hosts(self) -> int:
        """Hosts of one slice. Each host is a process of the job."""
        return self.chips // self.chips_per_host


@dataclasses.dataclass(frozen=True)
class Kubernetes:
    """Where pods of a GKE cluster run, and what they see."""

    image: str  # has `lst` on its path
    namespace: str
    service_account: str | None
    queue: str | None  # Kueue's local queue
    bucket: str | None  # of Cloud Storage, mounted at `mount` by GKE's FUSE driver
    mount: str | None
    # Left out, pods are on the network of their host, as xpk has them, except with a service account or a bucket:
    # GKE then has no way to give them the account's rights. Autopilot refuses it: false.
    host_network: bool | None
    privileged: bool | None  # left out: true, as xpk has it; since 1.28 GKE needs it no more, and Autopilot refuses it
    pull_secret: str | None  # the secret that the image is pulled with
    secrets: tuple[str, ...] | None  # NAME=SECRET/KEY: environment variables from secrets of the namespace
    priority: str | None  # the priority class of the pods; xpk has very-low, low, medium, high and very-high
    ttl_seconds: int | None  # after its end the job is deleted; left out, it stays until somebody deletes it
    placement_policy: str | None  # of the node pools, which several hosts of TPU7x need where GKE makes the pools

    @property
    def on_host_network(self) -> bool:
        """Whether pods share the network of their host, which is faster between slices."""
        if self.host_network is None:
            return self.service_account is None and self.bucket is None
        return self.host_network


@dataclasses.dataclass(frozen=True)
class Google:
    """Where TPU machines are asked for, and how they are made ready."""

    project: str
    zone: str
    runtime_version: str | None  # of the machine's system, for queued resources: v2-alpha-tpuv6e, ...
    service_account: str | None
    setup: str | None  # a shell line for every host before each start: installs `lst`, mounts the data


@dataclasses.dataclass(frozen=True)
class Slurm:
    """A part of a SLURM cluster of GPUs."""

    nodes: int
    gpus_per_node: int
    partition: str
    time: str  # as sbatch takes it: 24:00:00, 2-00:00:00
    account: str | None


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What a job runs on."""

    name: str  # of the cluster
    kind: str  # a generation of TPUs (`lst_jax.cost.accelerators`), or "gpu"
    workdir: str  # on every host: the recipe and the paths in it are relative to this folder
    run_root: str  # gs://BUCKET/FOLDER, or a folder that all hosts share: a relative RUN lies in it
    grace_seconds: int  # between SIGTERM and the end: a step and a save
    max_restarts: int
    env: tuple[str, ...]  # NAME=value
    tpu: Tpu | None
    kubernetes: Kubernetes | None
    google: Google | None
    slurm: Slurm | None

    @property
    def generation(self) -> TpuGeneration:
        """The kind of TPU. Raises: ConfigError for GPUs."""
        return registry.tpu(self.kind)

    @property
    def devices(self) -> int:
        """JAX devices of the whole job."""
        if self.kind == GPU:
            return self.slurm.nodes * self.slurm.gpus_per_node
        return self.tpu.chips * self.tpu.slices * self.generation.devices_per_chip

    @property
    def processes(self) -> int:
        """Processes of the whole job: one per TPU host, or one per GPU."""
        return self.devices if self.kind == GPU else self.tpu.hosts * self.tpu.slices


# What JAX finds itself on TPU machines, on GKE and under SLURM; a value of ours could only be wrong.
FOUND_BY_JAX = (
    "JAX_COORDINATOR_",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    "JAX_LOCAL_DEVICE_IDS",
    "TPU_WORKER_",
    "TPU_PROCESS_",
    "MEGASCALE_",
    "SLURM_",
    "CUDA_VISIBLE_DEVICES",
)
LEAST_GRACE = 30  # seconds, Kubernetes' own default
FLEX_SECONDS = (600, 7 * 24 * 3600)  # the least and the most that flex-start takes
# REGISTRY/FOLDERS/NAME:TAG or NAME@sha256:DIGEST, as github.com/distribution/reference has it
IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?"
)
ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
LABEL = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"  # names of Kubernetes' objects


def load_cluster(path: str | os.PathLike | Place) -> Cluster:
    """Reads and checks a description, here or in a bucket. Raises: ConfigError, StorageError."""
    file = to_place(path)
    try:
        text = objects.read_text(file)
        mapping = json_files.decode(text) if file.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such cluster description; copy one from launch/") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: what both parsers and UTF-8 raise
        raise ConfigError(
            f"{path}: cannot be read ({first_line(error)}); write TOML, or JSON in a .json file"
        ) from error
    try:
        cluster = build(Cluster, _with_nones(Cluster, mapping), "")
        validate(cluster)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return cluster


def _with_nones(kind: Any, mapping: Any) -> Any:
    """The mapping with None for what may be left out: TOML has no word for it."""
    if not isinstance(mapping, dict):
        return mapping
    filled = dict(mapping)
    for name, hint in typing.get_type_hints(kind).items():
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        if type(None) in typing.get_args(hint):
            filled.setdefault(name, None)
            if dataclasses.is_dataclass(inner[0]):
                filled[name] = _with_nones(inner[0], filled[name])
    return filled


def validate(cluster: Cluster) -> None:
    """Checks what the fields say of each other. Raises ConfigError; changes nothing."""
    if cluster.kubernetes is not None:
        _validate_image(cluster.kubernetes.image)
    for path, text in _strings(dataclasses.asdict(cluster), ""):
        if not text or not text.isprintable():
            fail(path, text, "must be one line of printable characters", "give it a value, or leave the field out")
    kinds = (*registry.tpu_names(), GPU)
    if cluster.kind not in kinds:
        fail("kind", cluster.kind, f"must be one of {', '.join(kinds)}", f"nearest: {nearest(cluster.kind, kinds)}")
    if cluster.grace_seconds < LEAST_GRACE:
        fail(
            "grace_seconds", cluster.grace_seconds, f"must be at least {LEAST_GRACE}, for a step and a save", "use 300"
        )
    if cluster.max_restarts < 0:
        fail("max_restarts", cluster.max_restarts, "must not be negative", "use 0 for none")
    if not cluster.workdir.startswith("/"):
        fail("workdir", cluster.workdir, "must be an absolute path", f"use /{cluster.workdir}")
    try:
        to_run_place(cluster.run_root)
    except ConfigError as error:
        raise ConfigError(f"run_root={error}") from error
    for i, setting in enumerate(cluster.env):
        _validate_env(f"env.{i}", setting)
    if cluster.kind == GPU:
        _validate_slurm(cluster)
    else:
        _validate_tpu(cluster)


def _strings(mapping: Any, prefix: str):
    items = mapping.items() if isinstance(mapping, dict) else enumerate(mapping)
    for key, value in items:
        if isinstance(value, str):
            yield f"{prefix}{key}", value
        elif isinstance(value, (dict, list, tuple)):
            yield from _strings(value, f"{prefix}{key}.")


def _validate_env(path: str, setting: str) -> None:
    name, equals, _ = setting.partition("=")
    if not equals or not re.fullmatch(ENV_NAME, name):
        fail(path, setting, "must be NAME=value", f"use {re.sub(r'[^A-Za-z0-9_]', '_', name) or 'NAME'}=value")
    if name.startswith(FOUND_BY_JAX):
        fail(path, setting, "JAX finds this itself", "leave it out")


def _validate_tpu(cluster: Cluster) -> None:
    tpu, generation = cluster.tpu, cluster.generation
    if tpu is None:
        fail("tpu", None, f'needed for kind="{cluster.kind}"', "add a section [tpu]")
    if cluster.slurm is not None:
        fail("slurm", "{...}", f'has no meaning for kind="{cluster.kind}"', "leave it out")
    _validate_topology(generation, tpu.topology)
    if not generation.allows_chips_per_host(tpu.topology, tpu.chips_per_host):
        fail(
            "tpu.chips_per_host",
            tpu.chips_per_host,
            f"must make whole hosts of {cluster.kind} out of the {tpu.chips} chips of {tpu.topology}",
            f"use {generation.usual_chips_per_host(tpu.topology)}",
        )
    if tpu.slices < 1:
        fail("tpu.slices", tpu.slices, "must be at least 1", "use 1")
    if tpu.reservation is not None and tpu.capacity != "reserved":
        fail(
            "tpu.reservation",
            tpu.reservation,
            f'has no meaning for tpu.capacity="{tpu.capacity}"',
            'leave it out, or use capacity = "reserved"',
        )
    if tpu.max_run_seconds is not None:
        _validate_max_run(tpu)
    if cluster.kubernetes is not None:
        _validate_kubernetes(cluster.kubernetes)


def _validate_max_run(tpu: Tpu) -> None:
    least, most = FLEX_SECONDS
    field = "tpu.max_run_seconds"
    if tpu.capacity != "flex-start":
        fix = 'leave it out, or use capacity = "flex-start"'
        fail(field, tpu.max_run_seconds, f'has no meaning for tpu.capacity="{tpu.capacity}"', fix)
    if not least <= tpu.max_run_seconds <= most:
        fail(field, tpu.max_run_seconds, f"must be from {least} to {most}, which are seven days", f"use {most}")


def _validate_image(image: str) -> None:
    if not IMAGE.fullmatch(image):
        fix = "build one with `make image IMAGE=NAME`, and give that name"
        fail("kubernetes.image", image, "must be the name of an image, as REGISTRY/FOLDER/NAME:TAG", fix)


def _validate_kubernetes(pods: Kubernetes) -> None:
    if (pods.bucket is None) != (pods.mount is None):
        missing = "mount" if pods.mount is None else "bucket"
        fail(f"kubernetes.{missing}", None, "a bucket and the folder it is mounted at go together", "give both or none")
    if pods.mount is not None and not pods.mount.startswith("/"):
        fail("kubernetes.mount", pods.mount, "must be an absolute path", f"use /{pods.mount}")
    for name in ("service_account", "bucket"):
        if pods.host_network and getattr(pods, name) is not None:
            rule = f"gives pods the rights of their node, not those that kubernetes.{name} needs"
            fail("kubernetes.host_network", True, rule, f"leave out host_network, or {name}")
    for name in ("pull_secret", "priority", "placement_policy"):
        value = getattr(pods, name)
        if value is not None and not re.fullmatch(LABEL, value):
            rule = "must be lower-case letters, digits, hyphens and dots"
            fail(f"kubernetes.{name}", value, rule, "use the name that kubectl or gcloud prints")
    if pods.ttl_seconds is not None and pods.ttl_seconds < 0:
        fail("kubernetes.ttl_seconds", pods.ttl_seconds, "must not be negative", "leave it out to keep finished jobs")
    for i, secret in enumerate(pods.secrets or ()):
        _validate_secret(f"kubernetes.secrets.{i}", secret)


def _validate_secret(path: str, secret: str) -> None:
    if not re.fullmatch(rf"{ENV_NAME}={LABEL}/[A-Za-z0-9_.-]+", secret):
        fail(path, secret, "must be NAME=SECRET/KEY", "use one such as WANDB_API_KEY=wandb/key")
    _validate_env(path, secret)


def _validate_topology(generation: TpuGeneration, topology: str) -> None:
    sides, axes = sides_of(topology), generation.torus_axes
    example = "x".join(["4"] * axes)
    if not sides:
        fail("tpu.topology", topology, "must be chips along each side", f"use one such as {example}")
    if len(sides) != axes:
        fail(
            "tpu.topology",
            topology,
            f"a slice of {generation.name} has {axes} sides, not {len(sides)}",
            f"use one such as {example}",
        )
    if not generation.has_topology(topology):
        cubes = ", or multiples of 4 in ascending order" if axes == 3 else ""
        fail(
            "tpu.topology",
            topology,
            f"{generation.name} has no such slice",
            f"use one of {', '.join(generation.topologies)}{cubes}",
        )


def _validate_slurm(cluster: Cluster) -> None:
    slurm = cluster.slurm
    if slurm is None:
        fail("slurm", None, 'needed for kind="gpu"', "add a section [slurm]")
    if cluster.tpu is not None:
        fail("tpu", "{...}", 'has no meaning for kind="gpu"', "leave it out")
    for name in ("nodes", "gpus_per_node"):
        if getattr(slurm, name) < 1:
            fail(f"slurm.{name}", getattr(slurm, name), "must be at least 1", "use 1")
    if not re.fullmatch(r"(\d+-)?\d+(:\d\d){0,2}", slurm.time):
        fail("slurm.time", slurm.time, "must be a time limit as sbatch takes it", "use one such as 24:00:00")
    for name in ("partition", "account"):
        value = getattr(slurm, name)
        if value is not None and not re.fullmatch(r"[\w.,@-]+", value, re.ASCII):
            fail(f"slurm.{name}", value, "must be letters, digits and . , @ - _", "use the name that sinfo prints")
