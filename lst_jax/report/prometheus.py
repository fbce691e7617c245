"""`lst report RUN --prometheus`: the state of a run as text in Prometheus's exposition format.

# TYPE lst_step gauge
lst_step{run="runs/1b"} 12000
lst_train{run="runs/1b",name="loss"} 2.1
"""

import re
from collections.abc import Iterator, Mapping

from lst_jax.runs import heartbeats, ledger
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import claim, objects

ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})  # in the value of a label
HELP = {
    "lst_step": "Steps whose records the run has.",
    "lst_steps": "Steps that the run is to have.",
    "lst_starts": "How often the run was started.",
    "lst_train": "The newest training record, by the name of the number.",
    "lst_eval": "The newest held-out evaluation, by the name of the number.",
    "lst_wall_seconds": "Wall time of all starts, by account of the ledger.",
    "lst_goodput": "Share of the wall time that went into steps that counted.",
    "lst_hangs": "Processes that a watchdog has ended.",
    "lst_first_step_seconds": "From the newest start to its first step.",
    "lst_alive": "1 while a process holds a run in a bucket or on a mount.",
    "lst_host_step": "The step that a process of the job has done, by its newest heartbeat.",
}
Sample = tuple[str, Mapping[str, str], float]


def text(run: RunDirectory) -> str:
    """The state of the run at this moment. Raises: ConfigError where there is no such run; DataError, StorageError."""
    name = str(run.path)
    families: dict[str, list[str]] = {}
    for metric, labels, value in _samples(run):
        words = ",".join(f'{key}="{word.translate(ESCAPED)}"' for key, word in {"run": name, **labels}.items())
        families.setdefault(metric, []).append(f"{metric}{{{words}}} {_number(value)}")
    return "".join(
        f"# HELP {metric} {HELP[metric]}\n# TYPE {metric} gauge\n" + "".join(f"{line}\n" for line in lines)
        for metric, lines in families.items()
    )


def _samples(run: RunDirectory) -> Iterator[Sample]:
    config, records = run.load_config(), run.read_metrics()
    spent = ledger.summarize(run.read_ledger())
    yield "lst_step", {}, max((record["step"] for record in records), default=0)
    yield "lst_steps", {}, config.train.steps
    yield "lst_starts", {}, len(run.read_starts())
    for kind in ("train", "eval"):
        newest = next((record for record in reversed(records) if record["kind"] == kind), {})
        for key, value in newest.items():
            if key != "step" and isinstance(value, (int, float)):
                yield f"lst_{kind}", {"name": key}, value
    for account, seconds in spent["seconds"].items():
        yield "lst_wall_seconds", {"account": account}, seconds
    yield "lst_goodput", {}, spent["goodput"]
    yield "lst_hangs", {}, len(objects.names(run.hangs_path))
    first = next((start["first_step"] for start in reversed(spent["starts"]) if start["first_step"]), {})
    if "first_step_sec" in first:
        yield "lst_first_step_seconds", {}, first["first_step_sec"]
    if run.in_segments:
        yield "lst_alive", {}, claim.is_alive(run.starts_segments)
    for beat in heartbeats.read(run.hosts_path):
        if isinstance(beat.get("step"), int):
            yield "lst_host_step", {"process": str(beat.get("process")), "host": str(beat.get("host"))}, beat["step"]


def _number(value: float) -> str:
    """Example: 3.0 -> "3.0"; float("inf") -> "+Inf"."""
    return re.sub("^inf", "+Inf", str(float(value))).replace("-inf", "-Inf").replace("nan", "NaN")
