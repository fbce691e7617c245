"""Remake this folder from three Debian packages: Asterisk's English voice prompts (two) and the Jargon File.

    python build.py                    # downloads the packages with `apt-get download`
    python build.py A.deb B.deb C.deb  # or takes them (or trees they were extracted to) as given

Needs numpy, soundfile and, for this script only, `dpkg-deb` and `ffmpeg` (G.722 decoding). README.md says what the
outputs are and what the rules below are for.
"""

import argparse
import functools
import gzip
import hashlib
import io
import json
import re
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from clean import read_jargon, read_transcripts

HERE = Path(__file__).resolve().parent
PACKAGES = ("asterisk-core-sounds-en=1.6.1-1", "asterisk-core-sounds-en-g722=1.6.1-1", "dict-jargon=4.4.7-3.1")
TRANSCRIPTS = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
COPYRIGHT = "usr/share/doc/asterisk-core-sounds-en/copyright"
PROMPTS = "usr/share/asterisk/sounds/en_US_f_Allison"
JARGON = "usr/share/dictd/jargon.dict.dz"
SOURCE_SHA256 = {  # of the decompressed texts, so that another version stops here instead of changing the corpus
    TRANSCRIPTS: "4a5c1fea255e06020acd67efe37d162d0f0458f685efe578d224449f8e7f0bb4",
    JARGON: "6c8118c277d0b00736d406d4941b77b69932d6ab125f7179ff88fe12939cc19e",
}

SAMPLE_RATE = 16_000  # G.722's own rate: nothing is resampled
MIN_WORDS = 4  # shorter prompts say too little to align and interleave; their transcripts go to text.jsonl
PROMPT_SPLIT = {"train": 0.70, "valid": 0.15, "test": 0.15}
JARGON_SPLIT = {"train": 0.95, "valid": 0.05}

# --- audio ------------------------------------------------------------------------------------------------------------


def decode_g722(path: Path) -> np.ndarray:
    """The 16 kHz mono samples of a raw G.722 file, int16."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "g722", "-i", path, "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<i2")


@functools.cache
def ogg_crc_table() -> tuple[int, ...]:
    """CRC-32 of each byte as Ogg has it (RFC 3533): polynomial 0x04c11db7, not reflected, no inversions."""
    table = list(range(0, 256 << 24, 1 << 24))
    for _ in range(8):
        table = [(c << 1 ^ (0x04C11DB7 if c >> 31 else 0)) & 0xFFFFFFFF for c in table]
    return tuple(table)


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The same Ogg stream with a given serial number, which libsndfile draws at random."""
    out, start, table = bytearray(ogg), 0, ogg_crc_table()
    while start < len(out):
        n_segments = out[start + 26]
        end = start + 27 + n_segments + sum(out[start + 27 : start + 27 + n_segments])
        struct.pack_into("<I", out, start + 14, serial)
        struct.pack_into("<I", out, start + 22, 0)
        crc = 0
        for byte in out[start:end]:
            crc = (crc << 8) & 0xFFFFFFFF ^ table[crc >> 24 ^ byte]
        struct.pack_into("<I", out, start + 22, crc)
        start = end
    return bytes(out)


def encode_opus(samples: np.ndarray, serial: int) -> bytes:
    """Ogg Opus bytes; the same samples always give the same bytes."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", SAMPLE_RATE, 1, format="OGG", subtype="OPUS") as file:
        for start in range(0, len(samples), SAMPLE_RATE):  # in blocks: one long write crashes libsndfile 1.2.2
            file.write(samples[start : start + SAMPLE_RATE])
    ogg = with_serial(buffer.getvalue(), serial)
    decoded, rate = soundfile.read(io.BytesIO(ogg))
    if (rate, decoded.shape) != (SAMPLE_RATE, samples.shape):
        raise ValueError(f"opus={decoded.shape} at {rate} Hz: must read back as {samples.shape} at {SAMPLE_RATE} Hz")
    return ogg


# --- the folder -------------------------------------------------------------------------------------------------------


def hash32(text: str) -> int:
    """The first 32 bits of the text's SHA-256."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def split_of(text: str, shares: dict[str, float]) -> str:
    """The split whose interval of [0, 1) holds the text's hash: equal texts, equal splits."""
    point, top = hash32(text) / 2**32, 0.0
    for name, share in shares.items():
        top += share
        if point < top:
            return name
    return name


def find(trees: list[Path], path: str) -> Path:
    """The first of the trees that has the path."""
    for tree in trees:
        if (tree / path).exists():
            return tree / path
    raise FileNotFoundError(f"sources={[str(t) for t in trees]}: none holds {path}; give {' '.join(PACKAGES)}")


def read_source(trees: list[Path], path: str) -> str:
    """The decompressed text of a source file, refused when it is not the version this script was written for."""
    data = gzip.decompress(find(trees, path).read_bytes())
    if (digest := hashlib.sha256(data).hexdigest()) != SOURCE_SHA256[path]:
        raise ValueError(f"sha256({path})={digest}: must be {SOURCE_SHA256[path]}; use {' '.join(PACKAGES)}")
    return data.decode()


def write_jsonl(name: str, records: list[dict[str, str]]) -> None:
    """One JSON object a line."""
    (HERE / name).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))


def build(trees: list[Path]) -> None:
    """Write the audio, both manifests, LICENSE, SHA256SUMS and the counts in README.md."""
    (HERE / "audio").mkdir(exist_ok=True)
    for old in (HERE / "audio").glob("*.ogg"):
        old.unlink()
    speech, unused, samples_in = [], {}, dict.fromkeys(PROMPT_SPLIT, 0)
    for name, text in sorted(read_transcripts(read_source(trees, TRANSCRIPTS)).items()):
        audio = find(trees, PROMPTS) / f"{name}.g722"
        if len(text.split()) < MIN_WORDS or not audio.exists():
            unused.setdefault(text, name)
            continue
        key, split = name.replace("/", "-"), split_of(text, PROMPT_SPLIT)
        samples = decode_g722(audio)
        samples_in[split] += len(samples)
        (HERE / f"audio/{key}.ogg").write_bytes(encode_opus(samples, hash32(key)))
        speech.append(dict(id=key, audio=f"audio/{key}.ogg", text=text, speaker="allison_smith", split=split))
    held_out = [f" {r['text']} " for r in speech if r["split"] != "train"]
    texts = [
        dict(id=f"prompt-{name.replace('/', '-')}", text=text, source="asterisk", split=split_of(text, PROMPT_SPLIT))
        for text, name in unused.items()
        if text and text not in {r["text"] for r in speech}
    ]
    for i, text in enumerate(read_jargon(read_source(trees, JARGON))):
        texts.append(dict(id=f"jargon-{i:04d}", text=text, source="jargon", split=split_of(text, JARGON_SPLIT)))
    texts = [t for t in texts if not any(h in f" {t['text']} " for h in held_out)]
    write_jsonl("manifest.jsonl", speech)
    write_jsonl("text.jsonl", texts)
    licence = find(trees, COPYRIGHT).read_text().split("\nLicense: CC-BY-SA-3.0\n THE WORK")[1].split("\n\nLicense:")[0]
    (HERE / "LICENSE").write_text(re.sub(r"^ \.?", "", f" THE WORK{licence}", flags=re.M) + "\n")
    files = [*sorted((HERE / "audio").glob("*.ogg")), HERE / "manifest.jsonl", HERE / "text.jsonl"]
    sums = (f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(HERE)}\n" for f in files)
    (HERE / "SHA256SUMS").write_text("".join(sums))
    write_counts(speech, texts, samples_in)


def write_counts(speech: list[dict], texts: list[dict], samples_in: dict[str, int]) -> None:
    """Replace what stands between the two `counts` comments of README.md by tables of what was written."""
    rows = ["| speech | utterances | minutes | words | word types |", "|---|---|---|---|---|"]
    for split in ("all", *PROMPT_SPLIT):
        chosen = [r["text"].split() for r in speech if split in ("all", r["split"])]
        minutes = sum(n for s, n in samples_in.items() if split in ("all", s)) / SAMPLE_RATE / 60
        types = len({w for words in chosen for w in words})
        rows.append(f"| {split} | {len(chosen)} | {minutes:.1f} | {sum(map(len, chosen))} | {types} |")
    rows += ["", "| text only | split | documents | words | characters |", "|---|---|---|---|---|"]
    for source, split in sorted({(t["source"], t["split"]) for t in texts}):
        chosen = [t["text"] for t in texts if (t["source"], t["split"]) == (source, split)]
        n_words = sum(len(t.split()) for t in chosen)
        rows.append(f"| {source} | {split} | {len(chosen)} | {n_words} | {sum(map(len, chosen))} |")
    megabytes = sum(f.stat().st_size for f in (HERE / "audio").glob("*.ogg")) / 1e6
    rows += ["", f"The audio is {megabytes:.1f} MB."]
    before, rest = (HERE / "README.md").read_text().split("<!-- counts -->\n")
    after = rest.split("<!-- end of counts -->\n")[1]
    counts = "\n".join(("<!-- counts -->", *rows, "<!-- end of counts -->", ""))
    (HERE / "README.md").write_text(before + counts + after)


def main() -> None:
    """Collect the three packages as trees, then build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*", type=Path, help=f".deb files or extracted trees of {' '.join(PACKAGES)}")
    sources = parser.parse_args().sources
    with tempfile.TemporaryDirectory() as scratch:
        if not sources:
            subprocess.run(["apt-get", "download", *PACKAGES], cwd=scratch, check=True)
            sources = sorted(Path(scratch).glob("*.deb"))
        for deb in (s for s in sources if s.is_file()):
            subprocess.run(["dpkg-deb", "-x", deb, scratch], check=True)
        build([Path(scratch), *(s for s in sources if s.is_dir())])


if __name__ == "__main__":
    main()
