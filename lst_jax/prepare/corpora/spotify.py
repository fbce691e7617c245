"""The Spotify Podcast Dataset: episodes with transcripts by Google's recogniser, which have the times of their words.

    podcasts-transcripts/2/B/show_ID/EPISODE.json    {"results": [{"alternatives": [{"transcript", "words": [...]}]}, ...]}
    podcasts-audio/2/B/show_ID/EPISODE.ogg

A word is {"startTime": "1.200s", "endTime": "1.500s", "word": "Hello"}. The last result repeats all words of the episode,
each with its `speakerTag`; it is no utterance, and tells who speaks. Each other result is an utterance: a part of the
recording, cut in the middle of the pauses around it (at most half a second of each), with its words. `--aligner corpus`
takes their times. Audio that lies elsewhere is found with `--audio-root`, the folder that stands for podcasts-audio.
Source: https://podcastsdataset.byspotify.com (README of the dataset), Clifton et al. 2020.
"""

import collections
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lst_jax.core.errors import RejectedItem, first_line
from lst_jax.data.alignment import Placed
from lst_jax.prepare.corpora import groups, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place
from lst_jax.storage.walk import Found, walk

TRANSCRIPTS, AUDIO, SUFFIX = "podcasts-transcripts", "podcasts-audio", ".json"
PAUSE_SEC = 0.5  # of the silence beside an utterance that belongs to it
BYTES_PER_UTTERANCE = 10_000  # 80 words, of 60 bytes each, twice: for the size of parts alone
LANGUAGE = "en"


@dataclasses.dataclass(frozen=True)
class Spotify:
    """Reads the transcripts below `podcasts-transcripts`; an entry of a part is an episode."""

    settings: Settings
    name = "spotify"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        root = place / TRANSCRIPTS if TRANSCRIPTS in objects.names(place) else place
        needs = f"a folder with {TRANSCRIPTS}/*/*/show_*/*.json"
        return reading.tree_at(root, self.name, needs, lambda path: path.endswith(SUFFIX))

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        episodes = (
            groups.Entry((one.path,), self._count(file.place, one), one.size, one.version)
            for _, inside in walk(file.place)
            for one in inside
            if one.path.endswith(SUFFIX)
        )
        return groups.entry_parts(file, number, part_items, self.settings.exact, episodes)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        items = (item for entry in part.entries for item in self._items(part.place, entry))
        return groups.chosen(items, part.first, part.count)

    def _items(self, transcripts: Place, entry: str) -> Iterator[Item | BadItem]:
        root = reading.audio_root(self.settings, transcripts.parent / AUDIO)
        where = str(transcripts / entry)
        try:
            yield from episode(_results(transcripts / entry), root / f"{entry.removesuffix(SUFFIX)}.ogg", where)
        except RejectedItem as error:
            yield reading.bad_line(where, error, self.settings)

    def _count(self, transcripts: Place, found: Found) -> int:
        """How many items an episode gives; a guess by its size, unless parts must be exact."""
        if self.settings.exact:
            return sum(1 for _ in self._items(transcripts, found.path))
        return max(1, found.size // BYTES_PER_UTTERANCE)


def is_at(place: Place) -> bool:
    """Whether a folder is the dataset's, or its transcripts."""
    return TRANSCRIPTS in objects.names(place) or place.name == TRANSCRIPTS


def episode(results: Sequence[Any], audio: Place, where: str) -> Iterator[Item | BadItem]:
    """The utterances of an episode, named by the episode and their number. Raises: RejectedItem."""
    name = audio.name.rpartition(".")[0]
    said: list[tuple[str, list[Placed]]] = []
    tags: dict[tuple[str, float], str] = {}
    for number, result in enumerate(results):
        words = _words(result)
        placed = [(_spelt(word), _seconds(word, "startTime"), _seconds(word, "endTime")) for word in words]
        if words and "speakerTag" in words[0]:
            tags |= {one[:2]: str(reading.within(word, "speakerTag")) for word, one in zip(words, placed, strict=True)}
        elif words:
            said.append((f"{name}-{number:04d}", placed))
    ends = [0.0, *(placed[-1][2] for _, placed in said)]
    starts = [*(placed[0][1] for _, placed in said), ends[-1]]  # the recording may end with its last word
    for index, (item_id, placed) in enumerate(said):
        yield _utterance(item_id, placed, ends[index], starts[index + 1], audio, _speaker(name, placed, tags), where)


def _utterance(
    name: str, placed: list[Placed], before_sec: float, behind_sec: float, audio: Place, speaker: str | None, where: str
) -> Item | BadItem:
    """One result; the words before it end at `before_sec`, those behind it begin at `behind_sec`."""
    first_sec, last_sec = placed[0][1], placed[-1][2]
    times = [time for _, start, end in placed for time in (start, end)]
    if times != sorted(times) or last_sec <= first_sec:
        return reading.bad_item(name, where, "words out of order", "has words that overlap or go back; leave it out")
    start_sec = first_sec - min(PAUSE_SEC, max(0.0, first_sec - before_sec) / 2)
    end_sec = last_sec + min(PAUSE_SEC, max(0.0, behind_sec - last_sec) / 2)
    words = tuple((word, round(a - start_sec, 6), round(b - start_sec, 6)) for word, a, b in placed)
    text = " ".join(word for word, *_ in placed)
    length_sec = round(end_sec - start_sec, 6)
    return Item(name, audio, text, speaker, round(start_sec, 6), length_sec, None, LANGUAGE, words, f"{where}: {name}")


def _speaker(name: str, placed: list[Placed], tags: Mapping[tuple[str, float], str]) -> str | None:
    """Who says most of the words; speakers are numbered within their episode."""
    counts = collections.Counter(tags[word, start] for word, start, _ in placed if (word, start) in tags)
    return f"{name}-{counts.most_common(1)[0][0]}" if counts else None


def _results(transcript: Place) -> list[Any]:
    try:
        found = json.loads(objects.read_bytes(transcript))
    except (ValueError, RecursionError) as error:
        raise RejectedItem("not JSON", f"is not JSON ({first_line(error)}); get the file again") from error
    results = reading.within(found, "results")
    if not isinstance(results, list):
        raise RejectedItem("wrong type", "results must be a list; is it a transcript of this dataset?")
    return results


def _words(result: Any) -> list[Any]:
    """The words of the first alternative; none where nothing was recognised."""
    first = reading.within(result, "alternatives", 0)
    words = first["words"] if isinstance(first, dict) and "words" in first else []
    if not isinstance(words, list):
        raise RejectedItem("wrong type", "words must be a list; is it a transcript of this dataset?")
    return words


def _spelt(word: Any) -> str:
    return reading.plain(reading.text_within(word, "word"))


def _seconds(word: Any, key: str) -> float:
    """Example: "1.200s" -> 1.2"""
    return reading.number_of_seconds(reading.text_within(word, key).removesuffix("s"), key)


LAYOUTS = (
    Layout(
        "spotify",
        "podcasts with Google's transcripts and the times of words",
        "speech",
        Spotify,
        (reading.AUDIO_ROOT,),
        is_at=is_at,
    ),
)
