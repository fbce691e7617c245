"""What an evaluation task is: a name for `lst evaluate --tasks`, and a function that gives its items.

Adding a task takes one file with a `FileTask` or a `HeldOutTask`, and one line in `lst_jax.data.tasks.registry`; code
outside the package calls `registry.register`.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

from lst_jax.core.errors import ConfigError
from lst_jax.data.records import Utterance
from lst_jax.data.tasks.items import Item, Task
from lst_jax.storage.place import Place

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


@dataclasses.dataclass(frozen=True)
class FileTask:
    """A task in a file: `--tasks NAME=PATH`.

    `read` takes the place and gives the task; it raises DataError, one line, naming file, line and fix.
    `is_folder`: PATH is a folder that has the audio too. Then each choice has the `name` of its recording below PATH.
    """

    name: str
    read: Callable[[Place], Task]
    is_folder: bool = False

    def check(self) -> None:
        """Raises: ConfigError where the task is not complete."""
        _check(self.name, self.read)


@dataclasses.dataclass(frozen=True)
class HeldOutTask:
    """A task that is made from the run's own held-out utterances: `--tasks NAME`, without a path.

    `make_items` takes the utterances and the most items that it may make. `note` says what the items are, `needs` what
    an utterance must have.
    """

    name: str
    make_items: Callable[[Sequence[Utterance], int], list[Item]]
    note: str
    needs: str

    def check(self) -> None:
        """Raises: ConfigError where the task is not complete."""
        _check(self.name, self.make_items)


EvaluationTask = FileTask | HeldOutTask


def _check(name: str, function: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"evaluation task {name!r}: its name must be of letters, digits, _, . and -; correct it")
    if not callable(function):
        raise ConfigError(f"evaluation task {name}: has no function that gives its items; write one")
