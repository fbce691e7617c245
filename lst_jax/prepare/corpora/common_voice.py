"""Mozilla's Common Voice, one language or several.

    LOCALE/train.tsv      client_id<tab>path<tab>sentence<tab>…, the first line names the columns; without quoting
    LOCALE/clips/common_voice_LOCALE_NUMBER.mp3      `path`; the first releases left the suffix out

`--split` takes another table: dev, test, validated, invalidated, other. The language is that of the column `locale`, or the
name of the folder. `client_id` is the speaker. Sentences keep their case and punctuation. The tables do not say how long
clips are. Source: https://github.com/common-voice/cv-dataset, Ardila et al. 2020.
"""

import dataclasses
from collections.abc import Iterator

from lst_jax.core.errors import RejectedItem
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

CLIPS = "clips"
SPLITS = ("train", "dev", "test", "validated", "invalidated", "other")
SPLIT = Option("split", f"which table: {', '.join(SPLITS)} (default: train)", metavar="NAME")
NEEDED = ("client_id", "path", "sentence")


@dataclasses.dataclass(frozen=True)
class CommonVoice:
    """Reads the table of a split, of each language below a folder."""

    settings: Settings
    name = "common-voice"

    def __post_init__(self):
        reading.check_options(self.settings, self.name, split=SPLITS)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`. Tables are looked for in the folder and in those below it, not among the clips."""
        split = self.settings.options["split"] if "split" in self.settings.options else SPLITS[0]
        table = f"{split}.tsv"
        if not objects.is_folder(place):
            return reading.files_at(place, lambda path: True, self.name, table)
        folders = [place] if objects.exists(place / table) else [place / name for name in objects.names(place)]
        found = [folder / table for folder in folders if objects.look(folder / table) is not None]
        needs = f"a folder with {table} and {CLIPS}, or one of such folders"
        return [
            file for one in found or [place] for file in reading.files_at(one, lambda path: False, self.name, needs)
        ]

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        return line_parts.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        folder = part.place.parent

        def items(row: dict[str, str], where: str) -> Iterator[Item]:
            clip = row["path"]
            if not clip:
                raise RejectedItem("wrong type", "path is empty; correct it")
            name = clip if "." in clip else f"{clip}.mp3"
            language = row["locale"] if "locale" in row and row["locale"] else folder.name
            text, speaker = reading.plain(row["sentence"]), row["client_id"] or None
            yield Item(name.rpartition(".")[0], folder / CLIPS / name, text, speaker, language=language, place=where)

        return reading.rows_of(part, self.settings, "\t", NEEDED, items)


def is_at(place: Place) -> bool:
    """Whether a folder is that of a language, or one of its first folders is."""
    folders = [place, *(place / name for name in objects.names(place)[:3] if "." not in name)]
    return any({CLIPS, "train.tsv"} <= set(objects.names(folder)) for folder in folders)


LAYOUTS = (Layout("common-voice", "tables .tsv of clips", "speech", CommonVoice, (SPLIT,), is_at=is_at),)
