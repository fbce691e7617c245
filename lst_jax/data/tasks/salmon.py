"""SALMon as it lies on disk (docs/formats_external.md, "Tasks"); nothing is downloaded.

Which of two recordings is likelier: one that stays the same in speaker, gender, sentiment, background or room (or whose
sentiment or background suits its words), or one that does not? Source: https://github.com/slp-rl/salmon.
"""

import pathlib
import re

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import folders
from lst_jax.data.tasks import items as ours
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.data.tasks.kind import FileTask
from lst_jax.storage.place import Place

NAME = re.compile(r"sample_([0-9]+)_([0-9]+)")


def read(path: Place) -> Task:
    """`PART/sample_N_0.wav`, the right choice, and `PART/sample_N_1.wav`; `path` has the parts, or is one of them.

    The band of an item is its part, such as gender_consistency or bg_alignment. Raises: DataError.
    """
    found = []
    for folder, names in folders.recordings(path).items():
        whole = path.resolve() if isinstance(path, pathlib.Path) else path
        part, place = folder or whole.name, folders.inside(path, folder)
        samples: dict[int, dict[int, str]] = {}
        for name in names:
            match = NAME.fullmatch(name)
            if match is None:
                raise DataError(
                    f"{place / name}.wav: is not called sample_NUMBER_0.wav or sample_NUMBER_1.wav; move it away"
                )
            sample, choice = map(int, match.groups())
            own = samples.setdefault(sample, {})
            if choice in own:
                raise DataError(
                    f"{place / name}.wav: is a second recording {choice} of sample {sample}; keep one of them"
                )
            own[choice] = name
        for sample, own in sorted(samples.items()):
            missing = [choice for choice in range(max(2, max(own) + 1)) if choice not in own]
            if missing:
                raise DataError(f"{place}: there is no sample_{sample}_{missing[0]}.wav; unpack the benchmark again")
            parts = tuple(Part(None, name=folders.below(folder, name)) for _, name in sorted(own.items()))
            found.append(Item(f"{part}-{sample}", None, parts, 0, bands={"part": part}))
    ours.check(found, path)
    return Task(tuple(found), "whole recordings")


TASK = FileTask("salmon", read, is_folder=True)
