"""StoryCloze and TopicStoryCloze as they lie on disk (docs/formats_external.md, "Tasks"); nothing is downloaded."""

from lst_jax.data.tasks import items as ours
from lst_jax.data.tasks.columns import label, rows
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.data.tasks.kind import FileTask
from lst_jax.storage.place import Place

SENTENCES = [f"InputSentence{i}" for i in range(1, 5)]
ENDINGS = ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2"]


def read(path: Place) -> Task:
    """A CSV file with the columns InputStoryid, InputSentence1-4, RandomFifthSentenceQuiz1-2 and AnswerRightEnding.

    AnswerRightEnding is 1 or 2; missing or empty: not known. The prompt is the four sentences.
    """
    found = []
    for place, row in rows(path, ["InputStoryid", *SENTENCES, *ENDINGS]):
        right = label(row["AnswerRightEnding"] if "AnswerRightEnding" in row else None, place)
        prompt = Part(" ".join(row[name].strip() for name in SENTENCES))
        choices = tuple(Part(row[name].strip()) for name in ENDINGS)
        found.append(Item(row["InputStoryid"], prompt, choices, None if right is None else right - 1))
    ours.check(found, path)
    return Task(tuple(found), "four sentences")


STORYCLOZE = FileTask("storycloze", read)
TOPICSTORYCLOZE = FileTask("topicstorycloze", read)
