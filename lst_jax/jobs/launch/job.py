"""A job: one recipe, one run directory, one cluster; and what every way of starting it has in common."""

import dataclasses
import re
import shlex
from collections.abc import Sequence

from lst_jax.config import TrainConfig, mesh_sizes
from lst_jax.core.errors import RESTART_EXIT_CODE
from lst_jax.core.paths import is_address
from lst_jax.core.strict import fail
from lst_jax.cost.compiler_options import in_words
from lst_jax.jobs.launch.cluster import Cluster
from lst_jax.recipes.load import load_recipe
from lst_jax.storage.place import Place, to_run_place

# A code of 127 or more means that something other than `lst` ended the process: 128 + a signal, as shells count.
# xpk starts such jobs again by itself, with the same bound and the same 42.
FIRST_SIGNAL_CODE = 127
LONGEST_NAME = 40  # xpk's bound; leaves 23 of a pod name's 63 for its slice, host and random part
LAST_EXIT_CODE = 255
LIBTPU_OPTIONS = "LIBTPU_INIT_ARGS"  # an environment variable that libtpu reads as it is loaded


@dataclasses.dataclass(frozen=True)
class Job:
    """A job: what is started, and on which cluster."""

    name: str
    run: str  # on the hosts
    recipe: str  # as `lst train --config` takes it, from the cluster's workdir
    changes: tuple[str, ...]  # of its fields, as `lst train --set` takes them
    cluster: Cluster
    compiler_options: str  # of XLA, as `train.compiler_options` has them; empty for GPUs, unless the recipe has some

    @property
    def command(self) -> list[str]:
        """The command of every process. JAX finds the other processes by itself."""
        changes = [word for change in self.changes for word in ("--set", change)]
        return ["lst", "train", self.run, "--config", self.recipe, *changes, "--processes", str(self.cluster.processes)]

    @property
    def summary(self) -> str:
        """One line that describes the job, safe in a comment."""
        cluster = self.cluster
        if cluster.kind == "gpu":
            where = f"{cluster.slurm.nodes} nodes of {cluster.slurm.gpus_per_node} GPUs"
        else:
            where = f"{cluster.tpu.slices} x {cluster.kind} {cluster.tpu.topology}"
        return f"{shlex.join(self.command)} on {where}: {cluster.devices} devices"

    @property
    def comments(self) -> list[str]:
        """Lines that begin each file: the job, and what its step is compiled with, which no option of it shows."""
        lines = [f"# {self.summary}"]
        if self.compiler_options:
            lines.append(f"# lst train itself compiles the step with: {self.compiler_options}")
        names = [setting.partition("=")[0] for setting in self.cluster.env]
        if self.cluster.kind != "gpu" and LIBTPU_OPTIONS not in names:
            lines.append(f"# {LIBTPU_OPTIONS} is left alone; a value for it goes into env of the cluster's description")
        return lines


def make_job(run: str, recipe: str, cluster: Cluster, name: str | None, changes: Sequence[str] = ()) -> Job:
    """Makes a job, after all checks that need the recipe. The default `name` is the recipe's own.

    Raises: ConfigError, also where the mesh does not fit the cluster, or the recipe the mesh.
    """
    config = load_recipe(recipe, changes)
    name = config.name if name is None else name
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) or len(name) > LONGEST_NAME:
        plain = re.sub(r"^[^a-z]+|-+$", "", re.sub(r"[^a-z0-9]+", "-", name.lower())[:LONGEST_NAME])
        fail(
            "name",
            name,
            f"a job's name is at most {LONGEST_NAME} lower-case letters, digits and hyphens",
            f"give --name {plain or 'lst'}",
        )
    for path, word in (("RUN", run), ("--config", recipe), *(("--set", change) for change in changes)):
        if not word.isprintable() or not word or word.startswith("-"):
            fail(path, word, "must be printable, and begin with no hyphen", "give another path")
    slices = cluster.tpu.slices if cluster.tpu is not None else 1
    mesh_sizes.check(config, mesh_sizes.mesh_sizes(config.mesh, cluster.devices, slices))
    place = str(run_in(cluster.run_root, run))
    return Job(name, place, recipe, tuple(changes), cluster, _compiler_options(config.train, cluster))


def _compiler_options(train: TrainConfig, cluster: Cluster) -> str:
    """What `lst train` compiles the step with there: the recipe's own options, or else those of the kind of TPU."""
    if train.compiler_options is not None or cluster.kind == "gpu":
        return " ".join((train.compiler_options or "").split())
    return in_words(cluster.generation.compiler_options)


def run_in(root: str, run: str) -> Place:
    """The place of a run on the hosts: in `root`, unless it is an address or an absolute path itself.

    Example: "gs://b/runs", "1b" -> gs://b/runs/1b
    Raises: ConfigError where runs cannot lie there.
    """
    is_whole = is_address(run) or run.startswith("/")
    return to_run_place(run) if is_whole else to_run_place(root) / run


def restarts(code: int) -> bool:
    """Whether a process that ended with `code` is to be started again; the other failures wait for a person."""
    return code == RESTART_EXIT_CODE or code >= FIRST_SIGNAL_CODE


def stop_codes() -> list[int]:
    """All exit codes that end a job for good."""
    return [code for code in range(1, LAST_EXIT_CODE + 1) if not restarts(code)]


def need(job: Job, section: str, target: str):
    """A section of the cluster's description. Raises: ConfigError where it is missing."""
    found = getattr(job.cluster, section)
    if found is None:
        if section == "tpu":
            fail("kind", job.cluster.kind, f"--to {target} is for TPUs", "use --to slurm")
        if section == "slurm":
            fail("kind", job.cluster.kind, f"--to {target} is for GPUs", "use --to jobset, queued-resource or xpk")
        fail(section, None, f"needed by --to {target}", f"add a section [{section}] to the cluster's description")
    return found


def shell_line(job: Job, prefix: tuple[str, ...] = ()) -> str:
    """The command with its folder and environment as one shell line that becomes the process: `exec`."""
    env = ["env", *job.cluster.env] if job.cluster.env else []
    words = [*prefix, *env, *job.command]
    return f"cd {shlex.quote(job.cluster.workdir)} && exec {shlex.join(words)}"
