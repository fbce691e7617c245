"""Three bundled prompts, laid out as each corpus is published, become the same records: `lst prepare speech --layout`."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from read_corpus import write

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.prepare.recordings import load_audio
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

RATE = 16000


@pytest.fixture(scope="module")
def said(prompts):
    """(sound, text) of each prompt, and one long recording of all with the first second of each."""
    sounds = [load_audio(item.audio) for item in prompts]
    starts = np.cumsum([0] + [len(sound) for sound in sounds])[:3] / RATE
    return list(zip(sounds, [item.text for item in prompts], starts, strict=True)), np.concatenate(sounds)


def save(path, sound, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, RATE, **options)


def librispeech(root, said, whole):
    write(
        root / "84/12/84-12.trans.txt",
        "".join(f"84-12-{i:04d} {text.upper()}\n" for i, (_, text, _) in enumerate(said)),
    )
    for i, (sound, *_) in enumerate(said):
        save(root / f"84/12/84-12-{i:04d}.flac", sound)


def mls(root, said, whole):
    write(
        root / "mls_english/dev/transcripts.txt", "".join(f"84_12_{i:06d}\t{t}\n" for i, (_, t, _) in enumerate(said))
    )
    lines = [
        f"84_12_{i:06d}\thttp://x\t{start:.3f}\t{start + len(s) / RATE:.3f}\n" for i, (s, _, start) in enumerate(said)
    ]
    write(root / "mls_english/dev/segments.txt", "".join(lines))
    for i, (sound, *_) in enumerate(said):
        save(root / f"mls_english/dev/audio/84/12/84_12_{i:06d}.flac", sound)


def librilight(root, said, whole):
    save(root / "small/84/book/ch.flac", whole)
    recording = {"id": "small/84/book/ch", "sources": [{"type": "file", "channels": [0], "source": "download/ch.flac"}]}
    lines = []
    for i, (sound, text, start) in enumerate(said):
        supervision = {"id": str(i), "speaker": "84", "language": "English", "custom": {"texts": [text, text.upper()]}}
        cut = {"id": f"small/84/book/ch_{i}", "start": start, "duration": len(sound) / RATE, "recording": recording}
        lines.append(json.dumps(cut | {"supervisions": [supervision]}) + "\n")
    write(root / "libriheavy_cuts_small.jsonl.gz", gzip.compress("".join(lines).encode()))
    return "--audio-root", root


def spotify(root, said, whole):
    save(root / "podcasts-audio/0/a/show_1/ep.ogg", whole)
    results = []
    for sound, text, start in said:
        times = start + np.linspace(0.1, len(sound) / RATE - 0.1, len(text.split()) + 1)
        words = [
            {"startTime": f"{a:.3f}s", "endTime": f"{b:.3f}s", "word": word}
            for word, a, b in zip(text.split(), times[:-1], times[1:], strict=True)
        ]
        results.append({"alternatives": [{"transcript": text, "words": words}]})
    tagged = [word | {"speakerTag": 1} for result in results for word in result["alternatives"][0]["words"]]
    results.append({"alternatives": [{"words": tagged}]})
    write(root / "podcasts-transcripts/0/a/show_1/ep.json", json.dumps({"results": results}))
    return "--aligner", "corpus"


def gigaspeech(root, said, whole):
    save(root / "audio/podcast/P0/POD1.opus", whole, format="OGG", subtype="OPUS")
    segments = [
        {"sid": f"POD1_S{i}", "speaker": "N/A", "begin_time": start, "end_time": start + len(sound) / RATE}
        | {"subsets": ["{XL}"], "text_tn": f"{text.upper()} <PERIOD>"}
        for i, (sound, text, start) in enumerate(said)
    ]
    audio = {"aid": "POD1", "path": "audio/podcast/P0/POD1.opus", "segments": segments}
    write(root / "GigaSpeech.json", json.dumps({"dataset": "GigaSpeech", "audios": [audio]}))


def kaldi(root, said, whole):
    save(root / "all.wav", whole)
    names = [f"84-{i}" for i in range(3)]
    write(root / "wav.scp", "rec all.wav\n")
    write(root / "text", "".join(f"{name} {text.upper()}\n" for name, (_, text, _) in zip(names, said, strict=True)))
    lines = [f"{n} rec {start:.4f} {start + len(s) / RATE:.4f}\n" for n, (s, _, start) in zip(names, said, strict=True)]
    write(root / "segments", "".join(lines))
    write(root / "utt2spk", "".join(f"{name} 84\n" for name in names))


def common_voice(root, said, whole):
    rows = [f"84\tc_{i}.mp3\t{text.capitalize()}.\ten\n" for i, (_, text, _) in enumerate(said)]
    write(root / "train.tsv", "client_id\tpath\tsentence\tlocale\n" + "".join(rows))
    for i, (sound, *_) in enumerate(said):
        save(root / f"clips/c_{i}.mp3", sound)


def ljspeech(root, said, whole):
    write(root / "metadata.csv", "".join(f"LJ001-{i}|{text}|{text}.\n" for i, (_, text, _) in enumerate(said)))
    for i, (sound, *_) in enumerate(said):
        save(root / f"wavs/LJ001-{i}.wav", sound)


def vctk(root, said, whole):
    for i, (sound, text, _) in enumerate(said):
        save(root / f"wav48_silence_trimmed/p84/p84_{i:03d}_mic1.flac", sound)
        write(root / f"txt/p84/p84_{i:03d}.txt", f"{text}.\n")


def mfa(root, said, whole):
    for i, (sound, text, _) in enumerate(said):
        save(root / f"84/r{i}.wav", sound)
        write(root / f"84/r{i}.lab", text.upper())


def speechbrain(root, said, whole):
    save(root / "all.wav", whole)
    rows = [
        f"84-{i},9,$root/all.wav,{round(start * RATE)},{round(start * RATE) + len(sound)},84,{text.upper()}\n"
        for i, (sound, text, start) in enumerate(said)
    ]
    write(root / "train.csv", "ID,duration,wav,start,stop,spk_id,wrd\n" + "".join(rows))
    return "--audio-root", root


def nemo(root, said, whole):
    save(root / "all.wav", whole)
    lines = [
        {"audio_filepath": "all.wav", "offset": start, "duration": len(sound) / RATE, "text": text, "pnc": "no"}
        for sound, text, start in said
    ]
    write(root / "train.json", "".join(json.dumps(line) + "\n" for line in lines))


def peoples_speech(root, said, whole):
    lengths = [round(len(sound) / RATE * 1000) for sound, *_ in said]
    names = [f"x_{i:05d}.flac" for i in range(3)]
    data = {"duration_ms": lengths, "label": [text for _, text, _ in said], "name": names}
    write(root / "train/clean.json", json.dumps({"identifier": "x", "training_data": data}) + "\n")
    for name, (sound, *_) in zip(names, said, strict=True):
        save(root / "train/clean" / name, sound)


GUESSED = [librispeech, mls, librilight, spotify, gigaspeech, kaldi, common_voice, ljspeech, vctk, mfa, peoples_speech]
NAMED = [(make, make.__name__.replace("_", "-")) for make in GUESSED] + [
    (speechbrain, "speechbrain"),
    (nemo, "nemo"),
    (kaldi, "espnet"),
]


@pytest.mark.parametrize(("make", "layout"), NAMED + [(make, None) for make in GUESSED])
def test_a_corpus_is_prepared_as_it_is_published(make, layout, said, unit_file, tmp_path):
    options = make(tmp_path / "corpus", *said) or ()
    named = () if layout is None else ("--layout", layout)
    words = ["prepare", "speech", "--manifest", tmp_path / "corpus", *named, "--units", unit_file, "--workers", 1]
    assert main.main([str(word) for word in (*words, *options, "--out", tmp_path / "out")]) == 0
    made = list(shards.RecordDirectory(tmp_path / "out", "utterance"))
    texts = [" ".join(word.text for word in utterance.words).lower().replace(".", "") for utterance in made]
    assert sorted(texts) == sorted(text for _, text, _ in said[0])
    lengths = {text: len(sound) / 640 for sound, text, _ in said[0]}  # in units, of which there are 25 per second
    assert all(abs(len(one.units) - lengths[text]) <= 8 for one, text in zip(made, texts, strict=True))


@pytest.mark.parametrize(("make", "hours"), [(mls, True), (librilight, True), (gigaspeech, True), (librispeech, False)])
def test_a_dry_run_counts_hours_from_the_metadata(make, hours, said, unit_file, tmp_path, capsys):
    options = make(tmp_path / "corpus", *said) or ()
    words = ["prepare", "speech", "--manifest", tmp_path / "corpus", *options, "--dry-run"]
    words += ["--units", unit_file, "--out", tmp_path / "out"]
    assert main.main([str(word) for word in words]) == 0
    seen = capsys.readouterr().out
    whole = sum(len(sound) for sound, *_ in said[0]) / RATE / 3600
    assert "3 items" in seen and (f"{whole:.2f} of 3 items" if hours else "0.00 of 0 items") in seen
    assert "refused      0" in seen


def test_a_corpus_in_a_bucket_with_its_audio_elsewhere_has_the_records_of_a_local_one(
    said, unit_file, bucket, tmp_path
):
    options = librilight(tmp_path / "corpus", *said)
    there = to_place(f"{bucket}/{tmp_path.name}/cuts")
    for name, place in (("libriheavy_cuts_small.jsonl.gz", there), ("small", there / "sound" / "small")):
        objects.upload(tmp_path / "corpus" / name, place / name if name.endswith(".gz") else place)
    found = []
    for manifest, root, out in (
        (tmp_path / "corpus", options[1], "local"),
        (there / "libriheavy_cuts_small.jsonl.gz", there / "sound", "remote"),
    ):
        words = ["prepare", "speech", "--layout", "librilight", "--manifest", manifest, "--audio-root", root]
        words += ["--units", unit_file, "--workers", 1, "--out", tmp_path / out]
        assert main.main([str(word) for word in words]) == 0
        found.append([(u.id, u.units.tolist(), u.words) for u in shards.RecordDirectory(tmp_path / out, "utterance")])
    assert found[0] == found[1] and len(found[0]) == 3
