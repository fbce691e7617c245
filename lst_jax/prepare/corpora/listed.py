"""Items that are in memory already, as a corpus."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from lst_jax.prepare.corpora import line_parts
from lst_jax.prepare.corpora.corpus import Corpus
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part, TextItem
from lst_jax.prepare.digests import digest
from lst_jax.storage.place import Place

NOWHERE = pathlib.Path("items")


@dataclasses.dataclass(frozen=True)
class Listed:
    """Reads the items that it holds, and pickles with them."""

    items: tuple[Item | TextItem | BadItem, ...]
    name: str = "listed"

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        return [InputFile(place, len(self.items), "", str(place))]

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`."""
        for index, start in enumerate(range(0, len(self.items), part_items)):
            chosen = self.items[start : start + part_items]
            content = digest(item.identity() for item in chosen)
            name = line_parts.part_name(number, index)
            yield Part(name, file.place, content, start, count=len(chosen), size=len(chosen))

    def read(self, part: Part) -> Iterator[Item | TextItem | BadItem]:
        """See `Reader.read`."""
        return iter(self.items[part.start : part.start + part.count])


def corpus_of(items: Sequence[Item | TextItem | BadItem], kind: str) -> Corpus:
    """The corpus of these items. Example: corpus_of([TextItem("a", "one")], "text")"""
    reader = Listed(tuple(items))
    return Corpus(kind, [(reader, reader.files(NOWHERE))], "the items given")
