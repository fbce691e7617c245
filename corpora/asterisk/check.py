"""Force-align every utterance with its text, and name those that do not align.

    python check.py

Needs pocketsphinx 5.1.1 and soundfile. This is a weak check, of gross errors only: the text of another utterance of
about the same length aligns about four times in ten.
"""

import json
from pathlib import Path

import soundfile
from pocketsphinx import Decoder

HERE = Path(__file__).resolve().parent


def aligned_words(decoder: Decoder, samples: bytes, text: str) -> list[str]:
    """The words the aligner placed in the audio; empty where it found no path."""
    decoder.set_align_text(text)
    decoder.reinit_feat()  # else the result depends on the utterance before
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    return [s.word.split("(")[0] for s in decoder.seg() if s.word[0] not in "<["]


def main() -> None:
    """Print the utterances that do not align, then the counts."""
    records = [json.loads(line) for line in (HERE / "manifest.jsonl").read_text().splitlines()]
    decoder = Decoder(samprate=16_000, loglevel="FATAL")
    for line in (HERE / "pronunciations.txt").read_text().splitlines():
        decoder.add_word(*line.split(" ", 1), True)
    failed = 0
    for record in records:
        samples, _ = soundfile.read(HERE / record["audio"], dtype="int16")
        if aligned_words(decoder, samples.tobytes(), record["text"]) != record["text"].split():
            failed += 1
            print(f"{record['id']}: does not align with {record['text']!r}")
    print(f"{len(records) - failed} of {len(records)} utterances align")


if __name__ == "__main__":
    main()
