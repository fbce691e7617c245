"""Speech of flite, by its shared library: small, fast, no files of its own, five voices of US English.

The program `flite` prints phones and their times but not which word they belong to, so the library of the same package
is asked: Debian's `flite`. What is declared here are the facts of its public headers cst_wave.h, cst_item.h, flite.h.
"""

import ctypes
import functools
import hashlib
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.synthesis.protocol import Speech, share_out

VERSION = 1  # of what is done here; raise it when any sample or time changes
SEED = 1  # of C's rand(), which its voices take their noise from
LIBRARY = "libflite.so.1"
VOICE_LIBRARY = "libflite_cmu_us_{}.so.1"
QUOTES = str.maketrans("‘’", "''")  # what flite reads is ASCII
FIRST = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"  # where the phone before a word's first one ends
LAST = b"R:SylStructure.daughtern.daughtern.R:Segment.end"


class _Wave(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


class _Origin(ctypes.Structure):
    _fields_ = [
        ("path", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


class SpokenWord(NamedTuple):
    """A word as flite says it, and the written word, from 0 on, that it is of; "42" has two of them."""

    written: int
    start_sec: float
    end_sec: float


class Flite:
    """A `protocol.Synthesiser`. Voices are those installed beside the library: slt, rms, awb, kal16 and kal."""

    voices = ("slt",)

    def __init__(self):
        """Raises: DataError where the library is not installed."""
        try:
            self._library = _Library()
        except OSError as error:
            raise DataError(
                f"--synthesiser flite: {LIBRARY} is not installed; apt-get install flite, or choose another synthesiser"
            ) from error
        self.name = f"flite-{self._library.version}/{self._library.fingerprint}/{VERSION}"

    def __reduce__(self):
        """Pickles as nothing: a library belongs to one process."""
        return type(self), ()

    def check_voice(self, voice: str) -> None:
        """See `protocol.Synthesiser`."""
        if voice not in self._library.voices:
            raise DataError(f"--voice {voice}: flite has no such voice; use {' or '.join(self._library.voices)}")

    def speak(self, text: str, voice: str) -> Speech:
        """See `protocol.Synthesiser`."""
        plain = unicodedata.normalize("NFKD", text.translate(QUOTES)).encode("ascii", "ignore")
        samples, rate, spoken = self._library.speak(plain, voice)
        if not spoken:
            raise RejectedItem("no spoken words", f"flite has no word for {text!r}; leave it out")
        return Speech(samples, rate, word_intervals(text.split(" "), spoken))


def word_intervals(words: Sequence[str], spoken: Sequence[SpokenWord]) -> list[tuple[float, float]]:
    """(start_sec, end_sec) of each written word: from the first to the last of what flite says for it.

    Example: ["no", "42"], spoken 0 (0.2-0.4 s), 1 (0.5-0.8 s), 1 (0.8-1 s) -> (0.2, 0.4), (0.5, 1)
    """
    times: dict[int, tuple[float, float]] = {}
    for word in spoken:
        start_sec, _ = times.get(word.written, (word.start_sec, 0))
        times[word.written] = start_sec, word.end_sec
    return share_out(words, list(times), list(times.values()))


class _Library:
    """The shared library."""

    def __init__(self):
        """Raises: OSError where it is not there."""
        self._c: Any = ctypes.CDLL(LIBRARY)
        handle, text = ctypes.c_void_p, ctypes.c_char_p
        for name, result, arguments in (
            ("flite_synth_text", handle, (text, handle)),
            ("delete_utterance", None, (handle,)),
            ("utt_wave", ctypes.POINTER(_Wave), (handle,)),
            ("utt_relation", handle, (handle, text)),
            ("relation_head", handle, (handle,)),
            ("item_next", handle, (handle,)),
            ("item_as", handle, (handle, text)),
            ("item_parent", handle, (handle,)),
            ("ffeature_string", text, (handle, text)),
            ("ffeature_float", ctypes.c_float, (handle, text)),
        ):
            function = getattr(self._c, name)
            function.restype, function.argtypes = result, arguments
        self._c.flite_init()
        origin = _Origin()
        ctypes.CDLL(None).dladdr(ctypes.cast(self._c.flite_init, ctypes.c_void_p), ctypes.byref(origin))
        path = pathlib.Path(origin.path.decode()).resolve()
        self.version = path.name.partition(".so.")[2]
        self.voices = sorted(
            one.name.split("_")[-1].partition(".")[0] for one in path.parent.glob(VOICE_LIBRARY.format("*"))
        )
        self._files = sorted({one.resolve() for one in path.parent.glob("libflite*.so.*")})

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the library, its words and its voices."""
        digest = hashlib.sha256()
        for path in self._files:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def speak(self, text: bytes, voice: str) -> tuple[np.ndarray, int, list[SpokenWord]]:
        """float32 samples, their rate, and the words; noise starts anew, so that nothing said before is heard."""
        ctypes.CDLL(None).srand(SEED)
        utterance = self._c.flite_synth_text(text, self._voice(voice))
        try:
            wave = self._c.utt_wave(utterance).contents
            samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(np.float32) / 32768
            return samples, wave.sample_rate, list(self._words(utterance))
        finally:
            self._c.delete_utterance(utterance)

    @functools.cache  # noqa: B019 -- a library lives as long as its process
    def _voice(self, voice: str) -> int:
        register = getattr(ctypes.CDLL(VOICE_LIBRARY.format(voice)), f"register_cmu_us_{voice}")
        register.restype, register.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
        return register(None)

    def _words(self, utterance: int) -> Iterator[SpokenWord]:
        """Tokens are written words, each with the blanks before it; those of what flite cannot read are skipped."""
        written: dict[int, int] = {}  # by the token's address
        place = 0
        for token in self._items(utterance, b"Token"):
            place += self._c.ffeature_string(token, b"whitespace").count(b" ")
            written[token] = place
        for word in self._items(utterance, b"Word"):
            end_sec = self._c.ffeature_float(word, LAST)
            if end_sec > 0:  # it has a sound
                token = self._c.item_parent(self._c.item_as(word, b"Token"))
                yield SpokenWord(written[token], self._c.ffeature_float(word, FIRST), end_sec)

    def _items(self, utterance: int, relation: bytes) -> Iterator[int]:
        item = self._c.relation_head(self._c.utt_relation(utterance, relation))
        while item:
            yield item
            item = self._c.item_next(item)
