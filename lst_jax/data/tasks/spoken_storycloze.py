"""Spoken StoryCloze as it lies on disk (docs/formats_external.md, "Tasks"); nothing is downloaded.

Sources: https://github.com/slp-rl/SpokenStoryCloze (the data), https://github.com/slp-rl/slamkit (stories in parts).
"""

import re
from collections.abc import Mapping, Sequence

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import folders
from lst_jax.data.tasks import items as ours
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.data.tasks.kind import FileTask
from lst_jax.storage.place import Place

NAME = re.compile(r"(.+)_(correct|incorrect|mutual)")
NUMBERED = re.compile(r"[0-9]+_(.+)")
Story = dict[str, str]  # names of recordings by "correct", "incorrect", and perhaps "mutual"


def read(path: Place) -> Task:
    """Pairs `0_STORY_correct.wav` and `1_STORY_incorrect.wav` in `path`, or in a folder per voice.

    Each is a whole story of five sentences, so that the choices stand alone. Where there is a third recording,
    `…_mutual.wav`, it is the prompt. Texts are those of .txt files beside the recordings. Raises: DataError.
    """
    found = []
    for folder, names in folders.recordings(path).items():
        for story, own in _stories(folders.inside(path, folder), names).items():

            def part(role: str, folder=folder, own: Story = own) -> Part:
                return Part(
                    folders.text_beside(folders.inside(path, folder), own[role]), name=folders.below(folder, own[role])
                )

            prompt = part("mutual") if "mutual" in own else None
            choices = (part("correct"), part("incorrect"))
            found.append(
                Item(folders.below(folder, story), prompt, choices, 0, bands={"voice": folder} if folder else {})
            )
    with_prompt = [item for item in found if item.prompt is not None]
    if with_prompt and len(with_prompt) < len(found):
        item = next(item for item in found if item.prompt is None)
        raise DataError(f"{path}: story {item.id} has no recording …_mutual.wav, and others have; add it")
    ours.check(found, path)
    return Task(tuple(found), "four sentences" if with_prompt else "whole stories")


def _stories(place: Place, names: Sequence[str]) -> dict[str, Story]:
    """The recordings of each story. A number before the story's name counts files, unless it is the same in a pair.

    Example: 0_a_correct, 1_a_incorrect -> {"a": …}; 4_correct, 4_incorrect -> {"4": …}
    """
    named = {}
    for name in names:
        match = NAME.fullmatch(name)
        if match is None:
            raise DataError(
                f"{place / name}.wav: is not called …_correct.wav, …_incorrect.wav or …_mutual.wav; move it away"
            )
        named[name] = match.groups()
    whole = _grouped(place, {name: (base, role) for name, (base, role) in named.items()})
    if all({"correct", "incorrect"} <= own.keys() for own in whole.values()):
        return whole
    found = _grouped(place, {name: (NUMBERED.sub(r"\1", base), role) for name, (base, role) in named.items()})
    for story, own in found.items():
        for role in ("correct", "incorrect"):
            if role not in own:
                raise DataError(
                    f"{place}: story {story} has no recording …{story}_{role}.wav; unpack the benchmark again"
                )
    return found


def _grouped(place: Place, named: Mapping[str, tuple[str, str]]) -> dict[str, Story]:
    stories: dict[str, Story] = {}
    for name, (story, role) in named.items():
        own = stories.setdefault(story, {})
        if role in own:
            raise DataError(
                f"{place / name}.wav: is a second {role} recording of story {story}, beside {own[role]}.wav; keep one of them"
            )
        own[role] = name
    return stories


SSTORYCLOZE = FileTask("sstorycloze", read, is_folder=True)
TSTORYCLOZE = FileTask("tstorycloze", read, is_folder=True)
