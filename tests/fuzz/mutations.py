"""Mutations of files: bytes of any file, words of a text, values of JSON, and the inside of compressed files.

Every choice is drawn from the `random.Random` that is handed in, so that a case can be made again from its number.
"""

import gzip
import json
import random
import re
import struct
import zlib

import zstandard

Files = dict[str, bytes]  # content by relative name

MARK = "\ue0f0"  # stands for a text that `json` would not write
RAW = {  # by what the mark is followed by
    "a": "1e999",
    "b": "1" + "0" * 400,
    "c": "[" * 10_000 + "]" * 10_000,
    "d": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "e": "NaN",
    "f": "-Infinity",
    "g": '"\\ud800"',
    "h": "9" * 5000,
    "i": "-1e999",
}
VALUES = [None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**12, 0.5, -0.0, 1e-320, 1e308, "", " ", "a"]
VALUES += ["\0", "\ufeff", "\u2028", "a\nb", "\x1b[2J", "../../x", "/", "nan", "x" * 5000, "é" * 300, "0", "1e999"]
VALUES += [[], {}, [[]], [None], {"": None}, [1, None], ["a"], [0.5], [["a", 1, 0]], {"a": [1]}]
WORDS = [
    "NaN",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "10" * 200,
    "-1",
    "0",
    "1e-400",
    "2147483648",
    "18446744073709551616",
    "",
]
WORDS += [
    "null",
    "\0",
    "\ufeff",
    "9" * 5000,
    "x" * 5000,
    "[" * 10_000,
    '"',
    "'",
    "é",
    "\x1b[2J",
    "../x",
    "a b",
    "٣",
    "²",
]
BYTES = [b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"\r", b"\x85", b'"', b"{", b"]", b","]
BYTES += [b"\\", b"\0" * 64, b"\xff" * 8, b"A" * 3000, b"\x1c", b"\xc2\xa0", b"-", b"=", b"#"]
TEXT_SUFFIXES = (".json", ".jsonl", ".csv", ".txt", ".toml", ".py", ".TextGrid", ".ctm", ".tsv")
_WORD = re.compile(r"[^\s,=|\"':;\[\]{}()<>]+")


def mutated(files: Files, names: list[str], rng: random.Random) -> Files:
    """The files with one to three mutations in one of `names`; now and then that file is empty or missing."""
    name = rng.choice(names)
    chance = rng.random()
    if chance < 0.005:
        return {other: content for other, content in files.items() if other != name}
    content = b"" if chance < 0.01 else files[name]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = _file(name, content, rng)
    return files | {name: content}


def _file(name: str, content: bytes, rng: random.Random) -> bytes:
    if name.endswith((".gz", ".zst")) and rng.random() < 0.6:
        return _inside(name, content, rng)
    if name.endswith(".safetensors") and rng.random() < 0.6:
        return _header(content, rng)
    if name.endswith((".json", ".jsonl")) and rng.random() < 0.6:
        return _json_lines(content, rng) if name.endswith(".jsonl") else _json(content, rng)
    if name.endswith(TEXT_SUFFIXES) and rng.random() < 0.6:
        return _text(content, rng)
    return _bytes(content, rng)


def _inside(name: str, content: bytes, rng: random.Random) -> bytes:
    try:
        if name.endswith(".gz"):
            return gzip.compress(_file(name[:-3], gzip.decompress(content), rng), mtime=0)
        plain = zstandard.ZstdDecompressor().stream_reader(content).read(1 << 20)  # not what the header promises
        return zstandard.ZstdCompressor().compress(_file(name[:-4], plain, rng))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):  # an earlier mutation broke it
        return _bytes(content, rng)


def _header(content: bytes, rng: random.Random) -> bytes:
    """Mutates the JSON header of a safetensors file, whose length is corrected most of the time."""
    length = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if not 0 < length <= len(content) - 8:
        return _bytes(content, rng)
    header = content[8 : 8 + length]
    header = _json(header, rng) if rng.random() < 0.8 else _bytes(header, rng)
    start = struct.pack("<Q", len(header)) if rng.random() < 0.95 else content[:8]
    return start + header + content[8 + length :]


def _json_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return _bytes(content, rng)
    number = rng.randrange(len(lines))
    lines[number] = _json(lines[number].strip(), rng) + b"\n"
    return b"".join(lines)


def _json(content: bytes, rng: random.Random) -> bytes:
    """One value is replaced, dropped, renamed, or doubled."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return _bytes(content, rng)
    holder = {"": value}
    places = list(_places(holder))
    at, key = rng.choice(places)
    action = rng.random()
    if isinstance(at[key], str) and at[key].startswith("{") and action < 0.6:  # settings within settings
        at[key] = _json(at[key].encode(), rng).decode("utf-8", "replace")
    elif action < 0.7 or len(places) == 1:
        at[key] = MARK + rng.choice(list(RAW)) if rng.random() < 0.3 else rng.choice(VALUES)
    elif action < 0.8 and key != "":
        del at[key]
    elif action < 0.9 and isinstance(at, list):
        at.extend([at[key]] * rng.choice((1, 2, 1000)))
    elif isinstance(at, dict) and key != "":
        at[rng.choice(("a", "", "\0", "x" * 300, "id"))] = at.pop(key) if rng.random() < 0.5 else at[key]
    else:
        at[key] = rng.choice(VALUES)
    text = json.dumps(holder[""], ensure_ascii=rng.random() < 0.5).replace(ascii(MARK)[1:-1], MARK)
    for letter, raw in RAW.items():
        text = text.replace(f'"{MARK}{letter}"', raw)
    return text.encode("utf-8", "surrogatepass")


def _places(value):
    """(container, key) of every value, itself in a container."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def _text(content: bytes, rng: random.Random) -> bytes:
    """One word or number of a text is replaced, dropped or doubled."""
    text = content.decode("utf-8", "surrogateescape")
    found = list(_WORD.finditer(text))
    if not found:
        return _bytes(content, rng)
    word = rng.choice(found)
    new = rng.choice((rng.choice(WORDS), rng.choice(WORDS), "", word[0] + " " + word[0], word[0] + word[0]))
    return (text[: word.start()] + new + text[word.end() :]).encode("utf-8", "surrogateescape")


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut, doubled, moved or inserted."""
    at = rng.randrange(len(content) + 1)
    if rng.random() < 0.5:  # headers and first lines matter most
        at = min(at, rng.randrange(1, 200))
    size = rng.choice((1, 1, 2, 4, 8, 64, 1000))
    action = rng.randrange(7)
    if action == 0 and at < len(content):
        return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
    if action == 1:
        return content[:at] + rng.randbytes(min(size, 8)) + content[at + min(size, 8) :]
    if action == 2:
        return content[:at]
    if action == 3:
        return content[:at] + content[at + size :]
    if action == 4:
        return content[:at] + content[at : at + size] * rng.choice((2, 3, 100)) + content[at + size :]
    if action == 5:
        return content[:at] + rng.choice(BYTES) + content[at:]
    new = rng.choice(BYTES)
    return content[:at] + new + content[at + len(new) :]
