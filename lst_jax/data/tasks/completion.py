"""Completion choice: given the first half of a held-out utterance, is its second half likelier than another one's?

The items of this task come from the run's own held-out utterances. The conventions are those of
`lst_jax.evals.scorer`. The records of a run score the response with `restart`: in S→S its patches are counted from its
own first unit.
"""

from collections.abc import Sequence

import numpy as np

from lst_jax.data.interleave import Span, halves
from lst_jax.data.records import Utterance, Word
from lst_jax.data.tasks.items import Item, Part
from lst_jax.data.tasks.kind import HeldOutTask

MIN_WORDS = 4  # two for each half


def make_items(utterances: Sequence[Utterance], limit: int) -> list[Item]:
    """At most `limit` items, one for each utterance of four words or more, in their order; the true choice is the first.

    The other completion comes from the utterance with other words whose second half lasts most nearly as long, so that
    length alone decides little.
    """
    usable = [u for u in utterances if len(u.words) >= MIN_WORDS]
    seconds = [halves(u)[1] for u in usable]
    frames = np.array([s.end_frame - s.start_frame for s in seconds])
    texts = [" ".join(w.text for w in u.words[s.first_word :]) for u, s in zip(usable, seconds, strict=True)]
    items = []
    for i, utterance in enumerate(usable[:limit]):
        others = [j for j in range(len(usable)) if texts[j] != texts[i]]
        if not others:
            continue
        other = min(others, key=lambda j: (abs(int(frames[j] - frames[i])), j))
        items.append(
            Item(
                f"{i}:{utterance.id}",
                _part(utterance, halves(utterance)[0]),
                (_part(utterance, seconds[i]), _part(usable[other], seconds[other])),
                0,
            )
        )
    return items


def _part(utterance: Utterance, span: Span) -> Part:
    """A half in both modalities, its words counted from its first unit."""
    words = tuple(
        Word(w.text, w.start_frame - span.start_frame, w.end_frame - span.start_frame)
        for w in utterance.words[span.first_word : span.end_word]
    )
    return Part(" ".join(w.text for w in words), utterance.units[span.start_frame : span.end_frame], words)


TASK = HeldOutTask(
    "completion",
    make_items,
    note="halves of held-out utterances; the other one lasts about as long",
    needs=f"{MIN_WORDS} words or more",
)
