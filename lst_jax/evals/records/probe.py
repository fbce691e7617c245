"""Records of `lst evaluate --probe patches`: embeddings of words, speech against text by layer, margins of choices."""

import dataclasses
from typing import Any, ClassVar

from lst_jax.core.directions import DIRECTIONS
from lst_jax.evals.conventions import Direction
from lst_jax.evals.records.kind import Row


@dataclasses.dataclass(frozen=True)
class Separation:
    """Cosine of occurrences of one word and of different words, and the silhouette of words."""

    cosine_within: float
    cosine_between: float
    silhouette: float


@dataclasses.dataclass(frozen=True)
class LayerSimilarity:
    """Cosine of spoken and written occurrences of the same word, and of different words."""

    same_word: float
    other_word: float


@dataclasses.dataclass(frozen=True)
class Margins:
    """Nats by which the true completion is likelier: the mean of sums, and of means per token."""

    items: int
    mean_of_sums: float
    mean_of_means: float
    means: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ProbeRecord:
    """What patches of speech stand for inside the model."""

    KIND: ClassVar[str] = "probe"
    TITLE: ClassVar[str] = "Probe of patches"
    step: int
    source: str
    task: str
    patches: str
    utterances: int
    words: tuple[str, ...]
    occurrences: int
    embeddings: Separation
    text_speech: tuple[LayerSimilarity, ...]
    margins: dict[Direction, Margins]

    def file_name(self) -> str:
        """One file, of the newest evaluation."""
        return self.KIND

    def rows(self) -> list[Row]:
        """Embeddings, then text against speech by layer, then margins by direction."""
        seen = f"{self.occurrences} occurrences of {len(self.words)} words, {self.utterances} utterances"
        remark = f"{seen} of {self.source}; patches {self.patches}; step {self.step}"
        rows = [
            ("cosine within a word", f"{self.embeddings.cosine_within:.3f}", remark),
            ("cosine between words", f"{self.embeddings.cosine_between:.3f}", remark),
            ("silhouette of words", f"{self.embeddings.silhouette:.3f}", remark),
        ]
        rows += [
            (
                "text-speech cosine, " + (f"layer {i}" if i else "input"),
                f"{layer.same_word:.3f}",
                f"of the same word; of other words {layer.other_word:.3f}",
            )
            for i, layer in enumerate(self.text_speech)
        ]
        return rows + [
            (
                f"margin of completion choice {DIRECTIONS[direction]}",
                f"{one.mean_of_means:+.3f}",
                f"nats per token by which the true response is likelier, {one.items} items",
            )
            for direction, one in self.margins.items()
        ]

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Nothing was renamed."""
        return fields
