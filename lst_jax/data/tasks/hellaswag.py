"""HellaSwag as it lies on disk (docs/formats_external.md, "Tasks"); nothing is downloaded."""

import re

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.importers import base
from lst_jax.data.tasks import items as ours
from lst_jax.data.tasks.columns import label
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.data.tasks.kind import FileTask
from lst_jax.storage.place import Place


def read(path: Place) -> Task:
    """`hellaswag_val.jsonl`: {ind, ctx, endings, label, …}; label "" or missing: not known.

    The prompt is `ctx` without the activity's label; marks such as [header] are taken out of it and of the endings.
    """
    found = []
    for place, line in base.text_lines(path):
        try:
            fields = base.json_object(line)
            endings = base.field(fields, "endings", list)
            if not all(isinstance(one, str) for one in endings):
                raise RejectedItem("wrong type", "endings must be a list of texts; correct it")
            right = fields["label"] if "label" in fields else None
            number = base.field(fields, "ind", (int, str)) if "ind" in fields else place.rpartition(" ")[2]
            prompt = Part(without_marks(base.field(fields, "ctx", str)))
        except RejectedItem as error:
            raise DataError(f"{place}: {error}") from error
        choices = tuple(Part(without_marks(one)) for one in endings)
        found.append(Item(str(number), prompt, choices, label(right, place)))
    ours.check(found, path)
    return Task(tuple(found), "ctx without the activity's label, [marks] taken out")


def without_marks(text: str) -> str:
    """The text without HellaSwag's marks.

    Example: "How to jog [title] Warm up. [step] Walk." -> "How to jog. Warm up. Walk."
    """
    text = re.sub(r"[.]?\s*\[title\]\s*", ". ", text)
    return " ".join(re.sub(r"\[[^\]]*\]", " ", text).split())


TASK = FileTask("hellaswag", read)
