"""Corpora with one small text file for each recording: VCTK, and those that the Montreal Forced Aligner reads.

VCTK (https://doi.org/10.7488/ds/2645, README of version 0.92; `wav48` with .wav is that of version 0.80):

    wav48_silence_trimmed/p225/p225_001_mic1.flac    also _mic2; `--mic` chooses
    txt/p225/p225_001.txt

MFA (https://montreal-forced-aligner.readthedocs.io, corpus formats and structure), the folder is the speaker:

    SPEAKER/recording1.wav    or .flac, .ogg, .opus, .mp3
    SPEAKER/recording1.lab    or .txt

Ids are p225_001 of VCTK, and SPEAKER/recording1 of MFA. A recording or a text without the other is rejected. Texts in
capitals alone become lower case; others are kept as they are.
"""

import dataclasses
from collections.abc import Iterator

from lst_jax.core.errors import RejectedItem
from lst_jax.data import line_files
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import groups, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place
from lst_jax.storage.walk import Found, walk

AUDIO_FOLDERS = ("wav48_silence_trimmed", "wav48")
TEXTS = "txt"
MICS = ("mic1", "mic2")
MIC = Option("mic", "which microphone of VCTK: mic1 (default) or mic2", metavar="NAME")
TEXT_SUFFIXES = (".lab", ".txt")  # the first that is there


@dataclasses.dataclass(frozen=True)
class Vctk:
    """Reads VCTK. The entries of a part are a recording and its text, and so on."""

    settings: Settings
    name = "vctk"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)
        reading.check_options(self.settings, self.name, mic=MICS)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        needs = f"a folder with {AUDIO_FOLDERS[0]} and {TEXTS}"
        return reading.tree_at(place, self.name, needs, lambda path: path.startswith(f"{TEXTS}/"))

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        return groups.entry_parts(file, number, part_items, self.settings.exact, self._pairs(file.place))

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        for audio, text, content in _pairs_of(part):
            name = text.rpartition("/")[2].removesuffix(".txt")
            yield _item(name, part.place, audio, text, content, name.partition("_")[0], "en")

    def _pairs(self, root: Place) -> Iterator[groups.Entry]:
        folder = next((folder for folder in AUDIO_FOLDERS if objects.is_folder(root / folder)), AUDIO_FOLDERS[0])
        mic = self.settings.options["mic"] if "mic" in self.settings.options else MICS[0]
        for speaker, inside in walk(root / folder):
            if not speaker:
                continue
            spoken = root / TEXTS / speaker
            texts = {one.name: one for _, below in walk(spoken) for one in below} if objects.is_folder(spoken) else {}
            for one in inside:
                stem, _, suffix = one.name.rpartition(".")
                if f".{suffix.lower()}" not in reading.AUDIO_SUFFIXES or (
                    stem.endswith(MICS) and not stem.endswith(mic)
                ):
                    continue
                text = f"{stem.removesuffix(f'_{mic}')}.txt"
                size, version = (texts[text].size, texts[text].version) if text in texts else (0, "")
                names = f"{folder}/{one.path}", f"{TEXTS}/{speaker}/{text}"
                yield groups.Entry(names, 1, size, f"{one.size} {one.version} {size} {version}")


@dataclasses.dataclass(frozen=True)
class Mfa:
    """Reads recordings with .lab or .txt beside them. Entries are as of `Vctk`, "" where one is missing."""

    settings: Settings
    name = "mfa"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        needs = "a folder with SPEAKER/*.lab beside recordings"
        return reading.tree_at(place, self.name, needs, lambda path: path.lower().endswith(TEXT_SUFFIXES))

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        pairs = (pair for _, inside in walk(file.place) for pair in _beside(inside))
        return groups.entry_parts(file, number, part_items, self.settings.exact, pairs)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        for audio, text, content in _pairs_of(part):
            name = (audio or text).rpartition(".")[0]
            speaker = name.rpartition("/")[0].rpartition("/")[2] or None
            yield _item(name, part.place, audio, text, content, speaker, None)


def is_vctk(place: Place) -> bool:
    """Whether a folder has the folders of VCTK."""
    names = objects.names(place)
    return TEXTS in names and any(folder in names for folder in AUDIO_FOLDERS)


def is_mfa(place: Place) -> bool:
    """Whether a folder, or the first folder in it, has .lab files."""
    names = objects.names(place)
    inside = next((objects.names(place / name) for name in names if "." not in name), [])
    return any(name.lower().endswith(TEXT_SUFFIXES[0]) for name in (*names, *inside))


def _beside(inside: list[Found]) -> Iterator[groups.Entry]:
    """(recording, text) of each name in a folder, the missing one as ""."""
    paths = {one.name: one for one in inside}
    audio = reading.audio_names(paths)
    texts: dict[str, str] = {}
    for suffix in reversed(TEXT_SUFFIXES):
        texts |= {name[: -len(suffix)]: name for name in paths if name.lower().endswith(suffix)}
    for stem in sorted(audio.keys() | texts.keys()):
        found = [paths[names[stem]] if stem in names else None for names in (audio, texts)]
        version = str([(one.size, one.version) for one in found if one is not None])
        names = tuple("" if one is None else one.path for one in found)
        yield groups.Entry(names, 1, found[1].size if found[1] is not None else 0, version)


def _pairs_of(part: Part) -> Iterator[tuple[str, str, bytes | None]]:
    """(recording, text, content of the text) of each pair; the texts of a bucket are asked for together."""
    audio, texts = part.entries[::2], part.entries[1::2]
    there = [part.place / text for text in texts if text]
    try:
        contents = dict(zip(there, objects.read_many(there), strict=True))
    except FileNotFoundError:  # one of them, or more
        contents = {place: _content(place) for place in there}
    for recording, text in zip(audio, texts, strict=True):
        yield recording, text, contents[part.place / text] if text else None


def _content(place: Place) -> bytes | None:
    try:
        return objects.read_bytes(place)
    except FileNotFoundError:
        return None


def _item(
    name: str, root: Place, audio: str, text: str, content: bytes | None, speaker: str | None, language: str | None
) -> Item | BadItem:
    where = str(root / (text or audio))
    try:
        if not audio:
            raise RejectedItem("missing audio", "has no recording beside it; add it, or leave the text out")
        if content is None:
            raise RejectedItem(
                "missing transcript", f"{audio} has no text {text or 'beside it'}; add it, or leave it out"
            )
        return Item(name, root / audio, _text(content), speaker, language=language, place=where)
    except RejectedItem as error:
        return reading.bad_item(name, where, error.reason, str(error))


def _text(content: bytes) -> str:
    """The text of a small file, its lines joined. Raises: RejectedItem."""
    try:
        text = reading.plain(content.removeprefix(line_files.BYTE_ORDER_MARK).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RejectedItem("not UTF-8", f"is not UTF-8 text ({error.reason}); convert it") from error
    line_files.check_text(text, "the text")
    return text.lower() if text.isupper() else text


LAYOUTS = (
    Layout("vctk", "VCTK: wav48_silence_trimmed and txt", "speech", Vctk, (MIC,), is_at=is_vctk),
    Layout("mfa", "recordings with .lab or .txt beside them, in folders of speakers", "speech", Mfa, is_at=is_mfa),
)
