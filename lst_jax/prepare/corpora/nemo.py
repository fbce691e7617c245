"""NeMo's manifests: JSON lines with names of their own.

    {"audio_filepath": "wavs/a.wav", "duration": 1.5, "text": "…"}      and perhaps offset, lang, speaker, and others

Paths are absolute, or begin at `--audio-root`, else at the manifest's folder. `--text-field` names another field of the
words, such as `text_raw` or `pred_text`. Fields that this reader does not know are passed over, which the usual reader of
JSON lines is stricter about. Manifests of tarred datasets (`shard_id`) do not say where in an archive the audio lies; such
lines are rejected. Source: https://docs.nvidia.com/nemo-framework (ASR datasets, preprocessed data format).
"""

import dataclasses
import pathlib
from collections.abc import Iterator

from lst_jax.data import line_files
from lst_jax.prepare.corpora import fields, line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage.place import Place

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


@dataclasses.dataclass(frozen=True)
class Nemo:
    """Reads the manifests. The id of an item is its path without suffix, and its offset where it is a part."""

    settings: Settings
    name = "nemo"

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        return reading.files_at(place, lambda path: path.endswith(SUFFIXES), self.name, "a manifest of NeMo")

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        return line_parts.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        root = reading.audio_root(self.settings, part.place.parent)

        def items(line: str, where: str) -> Iterator[Item | BadItem]:
            found = line_files.json_object(line)
            if not fields.selected(found, self.settings.where):
                return
            path = reading.text_within(found, "audio_filepath")
            if "shard_id" in found:
                yield reading.bad_item(
                    path, where, "no audio file", f"{path} lies in a tar of a tarred dataset; unpack it"
                )
                return
            text = reading.text_within(found, self.settings.text_field)
            start, length = (_seconds(found, key) for key in ("offset", "duration"))
            name = str(pathlib.PurePosixPath(path).with_suffix("")) if pathlib.PurePosixPath(path).name else path
            yield Item(
                name + (f"-{start:.3f}" if start else ""),
                fields.audio_at(root, path),
                reading.usual(text),
                str(found["speaker"]) if "speaker" in found and found["speaker"] is not None else None,
                start or 0.0,
                length or None,
                language=reading.language(reading.text_within(found, "lang")) if "lang" in found else None,
                place=where,
            )

        return reading.items_of(line_parts.lines(part, skip_bad=True), self.settings, items)


def _seconds(found: dict, key: str) -> float | None:
    return reading.number_of_seconds(found[key], key) if key in found and found[key] is not None else None


LAYOUTS = (Layout("nemo", "JSON lines of NeMo: audio_filepath, duration, text", "speech", Nemo, (reading.AUDIO_ROOT,)),)
