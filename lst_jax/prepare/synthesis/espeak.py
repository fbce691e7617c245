"""Speech of espeak-ng, as the wheel espeakng-loader brings it: small, fast, no model, many languages and voices.

espeak-ng is under the GPL, version 3 or later. This program does without it: it is an optional extra
(`requirements-synthesis.txt`), loaded at run time and only where `lst prepare synthesise` is asked for it. What is
declared here are the facts of its public headers speak_lib.h and espeak_ng.h.
"""

import _ctypes
import bisect
import ctypes
import dataclasses
import functools
import importlib.metadata
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import rng
from lst_jax.prepare.synthesis.protocol import Speech, share_out

VERSION = 1  # of what is done here; raise it when any sample or time changes
SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: espeak_Synth returns when all has been handed over
UTF8 = 1  # espeakCHARS_UTF8
RATE, PITCH = 1, 3  # espeak_PARAMETER: nominal words per minute, 0 to 100
WORD_EVENT = 1
RATES, PITCHES = (160, 191), (42, 59)  # ranges that voices draw from; espeak-ng's own are 175 and 50
SEED = 1
EDGE_SEC = 0.1  # silence before and after, which espeak-ng has none of
HOP_SEC = 0.01
QUIET = 0.01  # of the loudest 10 ms: 40 dB below it is a pause
PAUSE_SEC = 0.06  # quiet for longer at the end of a word is a pause, for less perhaps a stop
LONGEST_SEC = 5.0, 1.0  # in all and for each character; long numbers take 0.6 s a digit. What takes more is cut short


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_char)),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class WordEvent(NamedTuple):
    """Where espeak-ng begins a word: the character of the text, from 1 on, and the time."""

    position: int
    start_sec: float


class Espeak:
    """A `protocol.Synthesiser`. Voices are languages, with a variant or without: en-us, en-gb, en-us+f3.

    A voice has its own rate and pitch, drawn from its name. The library goes on from where the utterance before left
    its noise and its phases, even after espeak_Terminate; so it is unloaded and loaded again for each (0.4 ms).
    """

    voices = ("en-us",)

    def __init__(self):
        """Raises: DataError where the wheel is not installed."""
        try:
            import espeakng_loader  # optional
        except ModuleNotFoundError as error:
            raise DataError(
                "--synthesiser espeak: needs espeak-ng, which is an extra; pip install "
                "'lst_jax[synthesis]', in a clone pip install -e '.[synthesis]'"
            ) from error
        self._library_path = espeakng_loader.get_library_path()
        self._data_path = pathlib.Path(espeakng_loader.get_data_path())
        self.name = f"espeak-ng/espeakng-loader-{importlib.metadata.version('espeakng-loader')}/{VERSION}"

    def __reduce__(self):
        """Pickles as nothing: a library belongs to one process."""
        return type(self), ()

    def check_voice(self, voice: str) -> None:
        """See `protocol.Synthesiser`."""
        language, plus, variant = voice.partition("+")
        if language.lower() not in self._languages:
            known = ", ".join(name for name in self._languages if name.startswith(language[:2].lower())) or "en-us"
            raise DataError(f"--voice {voice}: espeak-ng has no such voice; use for example {known}")
        variants = sorted(path.name for path in (self._data_path / "voices" / "!v").iterdir())
        if plus and variant not in variants:
            raise DataError(f"--voice {voice}: espeak-ng has no variant {variant!r}; use one of {', '.join(variants)}")

    def speak(self, text: str, voice: str) -> Speech:
        """See `protocol.Synthesiser`."""
        samples, events, rate = self._spoken(text, voice)
        words = word_intervals(text.split(" "), events, samples, rate)
        edge = np.zeros(round(EDGE_SEC * rate), np.float32)
        shift_sec = len(edge) / rate
        return Speech(
            np.concatenate([edge, samples, edge]),
            rate,
            [(start_sec + shift_sec, end_sec + shift_sec) for start_sec, end_sec in words],
        )

    def _spoken(self, text: str, voice: str) -> tuple[np.ndarray, list[WordEvent], int]:
        """Samples, where words begin, and the rate. Raises: RejectedItem where espeak-ng does not come to an end."""
        language, plus, variant = voice.partition("+")
        identifier = self._languages[language.lower()]  # before the library is loaded, as this loads it too
        heard = _Heard(longest_sec=LONGEST_SEC[0] + LONGEST_SEC[1] * len(text))
        draw = rng.generator("espeak", voice)
        with _Library(self._library_path, self._data_path) as library:
            heard.rate = library.rate
            library.choose(identifier + plus + variant)
            library.set(RATE, int(draw.integers(*RATES)))
            library.set(PITCH, int(draw.integers(*PITCHES)))
            library.speak(text, heard)
        if heard.too_long():
            raise RejectedItem(
                "endless speech",
                f"espeak-ng speaks for more than {heard.longest_sec:g} s; leave the text out or spell it in words",
            )
        return np.frombuffer(heard.data, "<i2").astype(np.float32) / 32768, heard.events, heard.rate

    @functools.cached_property
    def _languages(self) -> dict[str, str]:
        """Identifiers of voices by the languages that they are for, in lower case."""
        with _Library(self._library_path, self._data_path) as library:
            return library.languages()


@dataclasses.dataclass
class _Heard:
    """What the library hands over while it speaks."""

    longest_sec: float
    rate: int = 0
    data: bytearray = dataclasses.field(default_factory=bytearray)  # int16
    events: list[WordEvent] = dataclasses.field(default_factory=list)

    def too_long(self) -> bool:
        """Whether that is longer than any speech of the text."""
        return len(self.data) // 2 > self.longest_sec * self.rate

    def __call__(self, samples: Any, count: int, event: Any) -> int:
        """The library's callback; 1 stops it."""
        if samples and count > 0:
            self.data += ctypes.string_at(samples, 2 * count)
        for one in itertools.takewhile(lambda one: one.type, event):
            if one.type == WORD_EVENT:
                self.events.append(WordEvent(one.text_position, one.audio_position / 1000))
        return int(self.too_long())


class _Library:
    """The shared library, loaded afresh for a `with` block, so that it remembers nothing."""

    def __init__(self, library_path: str, data_path: pathlib.Path):
        self._paths = library_path, data_path

    def __enter__(self) -> "_Library":
        library_path, data_path = self._paths
        self._c: Any = ctypes.CDLL(library_path)
        self._c.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        self.rate = self._c.espeak_Initialize(SYNCHRONOUS, 0, str(data_path).encode(), 0)
        if self.rate <= 0:
            raise DataError(f"{data_path}: espeak-ng cannot read its data; install espeakng-loader again")
        self._c.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        return self

    def __exit__(self, *_: object) -> None:
        self._c.espeak_Terminate()
        _ctypes.dlclose(self._c._handle)

    def languages(self) -> dict[str, str]:
        """Identifiers by language. A voice's languages are bytes of priority, each before a name, and a last zero."""
        found: dict[str, str] = {}
        for voice in itertools.takewhile(bool, self._c.espeak_ListVoices(None)):
            place = ctypes.addressof(voice.contents.languages.contents)  # ty: ignore[missing-attribute]
            while ctypes.string_at(place, 1) != b"\0":
                name = ctypes.string_at(place + 1)
                found.setdefault(name.decode().lower(), voice.contents.identifier.decode())  # ty: ignore[missing-attribute]
                place += len(name) + 2
        return found

    def choose(self, identifier: str) -> None:
        """Chooses the voice of an identifier, with a variant or without."""
        if self._c.espeak_SetVoiceByName(identifier.encode()) != 0:
            raise DataError(f"--voice {identifier}: espeak-ng cannot load it; choose another")

    def set(self, parameter: int, value: int) -> None:
        """Sets a parameter of the voice."""
        self._c.espeak_SetParameter(parameter, value, 0)

    def speak(self, text: str, heard: _Heard) -> None:
        """Speaks; all samples and events are handed over before this returns."""
        callback = _Callback(heard)
        self._c.espeak_SetSynthCallback(callback)
        data = text.encode() + b"\0"
        self._c.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, UTF8, None, None)


def word_intervals(
    words: Sequence[str], events: Sequence[WordEvent], samples: np.ndarray, rate: int
) -> list[tuple[float, float]]:
    """(start_sec, end_sec) of each written word, from where espeak-ng begins the words it speaks.

    A written word begins at the first event in it (of "42", forty) and ends where the next begins, or before the pause
    that comes first. Words spoken as one ("of the") share its time by their numbers of characters.
    Example: ["of", "the", "end"] with events at characters 1 (0 s) and 8 (0.2 s), 0.5 s of sound
        -> (0, 0.08), (0.08, 0.2), (0.2, 0.5)
    """
    length_sec = len(samples) / rate
    first_position = list(itertools.accumulate((len(word) + 1 for word in words[:-1]), initial=1))
    heads, starts = [0], [0.0]  # words that have an event, and its time
    for event in events:
        word = bisect.bisect_right(first_position, event.position) - 1
        start_sec = min(max(event.start_sec, starts[-1]), length_sec)
        if word > heads[-1]:
            heads.append(word)
            starts.append(start_sec)
    ends = [
        _end_of_sound(samples, rate, start_sec, limit_sec)
        for start_sec, limit_sec in zip(starts, [*starts[1:], length_sec], strict=True)
    ]
    return share_out(words, heads, list(zip(starts, ends, strict=True)))


def _end_of_sound(samples: np.ndarray, rate: int, start_sec: float, limit_sec: float) -> float:
    """`limit_sec`, or where the pause before it begins."""
    hop = round(HOP_SEC * rate)
    first = round(start_sec * rate)
    piece = samples[first : round(limit_sec * rate)]
    frames = np.abs(piece[: len(piece) // hop * hop]).reshape(-1, hop).max(axis=1, initial=0)
    loud = np.flatnonzero(frames > QUIET * np.abs(samples).max(initial=0))
    if not len(loud):
        return limit_sec
    end_sec = start_sec + (loud[-1] + 1) * hop / rate
    return end_sec if limit_sec - end_sec > PAUSE_SEC else limit_sec
