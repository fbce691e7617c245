"""The evaluation tasks that have a name, and the one way to read a file of items."""

import os

from lst_jax.core.errors import ConfigError, DataError, RejectedItem
from lst_jax.data.importers import base
from lst_jax.data.tasks import completion, hellaswag, salmon, spoken_storycloze, storycloze, zerospeech
from lst_jax.data.tasks import items as ours
from lst_jax.data.tasks.items import Task
from lst_jax.data.tasks.kind import EvaluationTask, FileTask, HeldOutTask
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

_TASKS: dict[str, EvaluationTask] = {}


def register(task: EvaluationTask) -> None:
    """Makes the task known by its name. Raises: ConfigError where it is not complete, or the name is taken."""
    task.check()
    if task.name in _TASKS:
        raise ConfigError(f"evaluation task {task.name}: the name is taken; choose another")
    _TASKS[task.name] = task


for _task in (
    hellaswag.TASK,
    storycloze.STORYCLOZE,
    storycloze.TOPICSTORYCLOZE,
    zerospeech.SWUGGY,
    zerospeech.SBLIMP,
    salmon.TASK,
    spoken_storycloze.SSTORYCLOZE,
    spoken_storycloze.TSTORYCLOZE,
    completion.TASK,
):
    register(_task)


def find(name: str) -> EvaluationTask | None:
    """The task of that name; None for others, whose files hold JSON lines of ours."""
    return _TASKS.get(name)


def file_tasks() -> list[str]:
    """The names of the benchmarks whose files are known."""
    return [name for name, task in _TASKS.items() if isinstance(task, FileTask)]


def has_audio(name: str, path: str | os.PathLike | Place) -> bool:
    """Whether `read_task` reads that path as a folder with the audio of its items."""
    task = find(name)
    return isinstance(task, FileTask) and task.is_folder and objects.is_folder(to_place(path))


def held_out_tasks() -> list[str]:
    """The names of the tasks that are made from a run's own held-out utterances."""
    return [name for name, task in _TASKS.items() if isinstance(task, HeldOutTask)]


def read_task(name: str, path: str | os.PathLike | Place) -> Task:
    """A task in a file: a benchmark's own format where `name` is one of `file_tasks`, else JSON lines of ours.

    A benchmark that was made spoken is in JSON lines, whatever its name. Benchmarks of audio are folders before.
    Either may lie in a bucket.
    Example: read_task("storycloze", "cloze_test_val.csv"), read_task("hellaswag", "hellaswag_val.jsonl"),
        read_task("hellaswag", "spoken/hellaswag/task.jsonl"), read_task("mine", "mine.jsonl"),
        read_task("salmon", "salmon_benchmark")
    Raises: DataError naming file, line and fix; StorageError.
    """
    path = to_place(path)
    task = find(name)
    if objects.is_folder(path) and not has_audio(name, path):
        raise DataError(f"{path}: is a folder; give the file of the task {name}")
    if isinstance(task, FileTask) and not _is_ours(path):
        return task.read(path)
    if path.suffix == ".csv":
        raise DataError(
            f"{path}: {name} is no benchmark whose files are known ({', '.join(file_tasks())}); give one of "
            "these names, or JSON lines"
        )
    return ours.read(path)


def _is_ours(path: Place) -> bool:
    if path.suffix == ".csv" or objects.is_folder(path):
        return False
    _, line = next(base.text_lines(path), ("", "{}"))
    try:
        return "choices" in base.json_object(line)
    except RejectedItem:
        return False
