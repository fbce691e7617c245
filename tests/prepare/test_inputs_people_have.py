"""Inputs that people really have, through the real command: nothing wrong in silence, and one bad item never ends all.

Each restates a public report about a program of the same kind; the audio is made from the bundled prompts.
"""

import gzip
import json

import numpy as np
import pytest
import soundfile
from prepare_helpers import sweep

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.prepare.recordings import load_audio

FORWARD = "press eight to forward the message to another user"
PLACED = "you will now be placed into the conference"
TEXTGRID = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0 {end} <exists> {tiers}'


@pytest.fixture(scope="module")
def forward():
    return load_audio("corpora/asterisk/audio/vm-toforward.ogg")


@pytest.fixture(scope="module")
def placed():
    return load_audio("corpora/asterisk/audio/conf-placeintoconf.ogg")


@pytest.fixture
def speech(tmp_path, unit_file, capsys):
    """speech(lines, *options, files) prepares a manifest: (utterances by id, rejections by id, printed text)."""

    def run(lines, *options, manifest=None):
        path = tmp_path / "m.jsonl"
        if manifest is None:
            path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        arguments = ["--manifest", manifest or path, "--units", unit_file, "--workers", 1, "--max-rejected", 1]
        code = main.main(["prepare", "speech", *map(str, [*arguments, "--out", out, *options])])
        printed = capsys.readouterr()
        if not (out / "report.json").is_file():
            return code, {}, printed.out + printed.err
        sidecars = [json.loads(p.read_text()) for p in out.glob("shard-*.json")]
        rejected = {r["id"]: r for sidecar in sidecars for r in sidecar["rejected"]}
        made = {}
        if (out / "metadata.json").is_file():
            made = {u.id: u for u in shards.RecordDirectory(out, "utterance")}
        return made, rejected, printed.out + printed.err

    return run


@pytest.fixture
def text(tmp_path, capsys):
    """text(*paths, options) prepares documents: (ids and texts, rejections, exit code and printed text)."""

    def run(*paths, options=()):
        out = tmp_path / f"text{len(list(tmp_path.glob('text*')))}"
        manifests = [word for path in paths for word in ("--manifest", path)]
        code = main.main(["prepare", "text", *map(str, [*manifests, "--out", out, "--max-rejected", 1, *options])])
        printed = capsys.readouterr()
        rejected = [json.loads(p.read_text())["rejected"] for p in out.glob("shard-*.json")]
        found = []
        if (out / "metadata.json").is_file():
            found = [(d.id, d.text) for d in shards.RecordDirectory(out, "text")]
        return found, [r for some in rejected for r in some], (code, printed.out + printed.err)

    return run


def even(text, end, start=0.0):
    words = text.split()
    edges = np.linspace(start, end, len(words) + 1).tolist()
    return list(zip(words, edges[:-1], edges[1:], strict=True))


def tier(name, words, end):
    intervals = " ".join(f'{a} {b} "{word}"' for word, a, b in words)
    return f'"IntervalTier" "{name}" 0 {end} {len(words)} {intervals}'


def textgrid(path, end, **tiers):
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = " ".join(tier(name.replace("_", " - "), words, end) for name, words in tiers.items())
    path.write_text(TEXTGRID.format(end=end, tiers=f"{len(tiers)} {parts}"))


# What is silently wrong elsewhere


def test_a_transcript_that_leaves_out_the_middle_or_the_end_is_refused(speech, tmp_path, forward, placed):
    gap = np.zeros(4800, np.float32)
    soundfile.write(tmp_path / "middle.flac", np.concatenate([forward, gap, placed, gap, forward]), 16000)
    soundfile.write(tmp_path / "end.flac", np.concatenate([forward, gap, placed]), 16000)
    made, rejected, _ = speech(
        [
            {"audio": "middle.flac", "text": f"{FORWARD} {FORWARD}"},
            {"audio": "end.flac", "text": FORWARD},
            {"id": "all", "audio": "end.flac", "text": f"{FORWARD} {PLACED}"},
        ]
    )
    assert made.keys() == {"all"}
    assert rejected["end"]["reason"] == "speech outside words"
    assert rejected["middle"]["reason"] in ("word over other sound", "speech outside words", "poor match")
    assert "m.jsonl: line 2: " in rejected["end"]["message"]


def test_speech_outside_the_words_of_files_is_counted(speech, tmp_path, forward, placed):
    soundfile.write(tmp_path / "a.flac", np.concatenate([forward, placed]), 16000)
    end = len(forward) / 16000
    (tmp_path / "a.ctm").write_text("".join(f"a 1 {a:.2f} {b - a:.2f} {word}\n" for word, a, b in even(FORWARD, end)))
    made, _, printed = speech([{"audio": "a.flac", "text": FORWARD}], "--aligner", f"ctm:{tmp_path / 'a.ctm'}")
    assert len(made["a"].words) == 9
    seconds = float(printed.split(" s of speech outside words")[0].split(", ")[-1])
    assert 1.0 < seconds < len(placed) / 16000


@pytest.fixture
def stereo(tmp_path, forward, placed):
    """A call: `forward` on the left, then `placed` on the right; and its sidecar, words of the left."""
    length = len(forward) + len(placed)
    both = np.zeros((length, 2), np.float32)
    both[: len(forward), 0], both[len(forward) :, 1] = forward, placed
    soundfile.write(tmp_path / "c.wav", both, 16000)
    soundfile.write(tmp_path / "left.wav", both[:, 0], 16000)
    soundfile.write(tmp_path / "right.wav", both[:, 1], 16000)
    words = [[w, [a, b], "SPEAKER_MAIN"] for w, a, b in even(FORWARD, len(forward) / 16000)]
    (tmp_path / "call").mkdir()
    (tmp_path / "call" / "c.json").write_text(json.dumps({"alignments": words}))
    return tmp_path


def test_units_are_of_the_channel_that_the_words_are_of(speech, stereo):
    moshi = ("--aligner", f"moshi:{stereo / 'call'}")
    mono, _, _ = speech([{"audio": "left.wav", "text": FORWARD}, {"audio": "right.wav", "text": PLACED}])
    for line, options in [({}, moshi), ({"channel": 1}, ()), ({"channel": "A"}, ()), ({}, ("--channel", "left"))]:
        made, _, _ = speech([{"audio": "c.wav", "text": FORWARD, **line}], *options)
        np.testing.assert_array_equal(made["c"].units, mono["left"].units)
    made, _, _ = speech([{"audio": "c.wav", "text": PLACED, "channel": 2}], "--channel", "left")
    np.testing.assert_array_equal(made["c"].units, mono["right"].units)
    made, _, _ = speech([{"audio": "c.wav", "text": f"{FORWARD} {PLACED}"}], "--channel", "mean")
    assert len(made["c"].words) == 17


def test_channels_that_differ_are_not_averaged_unless_asked(speech, stereo, forward):
    soundfile.write(stereo / "same.wav", np.stack([forward, 0.8 * forward], axis=1), 16000)
    made, rejected, _ = speech(
        [
            {"audio": "c.wav", "text": FORWARD},
            {"audio": "same.wav", "text": FORWARD},
            {"id": "third", "audio": "c.wav", "text": FORWARD, "channel": 3},
        ]
    )
    assert made.keys() == {"same"}
    assert (rejected["c"]["reason"], rejected["third"]["reason"]) == ("several channels", "no such channel")
    assert "--channel: 1 (left), 2 (right), or mean" in rejected["c"]["message"]


def test_utterances_are_no_words(speech, tmp_path, forward):
    soundfile.write(tmp_path / "u1.flac", forward, 16000)
    end = len(forward) / 16000
    textgrid(tmp_path / "tg" / "u1.TextGrid", end, speaker1=[(FORWARD, 0, end)])
    _, rejected, _ = speech([{"audio": "u1.flac", "text": FORWARD}], "--aligner", f"textgrid:{tmp_path / 'tg'}")
    assert rejected["u1"]["reason"] == "not words" and "is 9 words" in rejected["u1"]["message"]


def test_an_alignment_is_the_items_own(speech, tmp_path, forward):
    soundfile.write(tmp_path / "B_001.flac", forward, 16000)
    end = len(forward) / 16000
    textgrid(tmp_path / "tg" / "A" / "001.TextGrid", end, words=even(FORWARD, end))
    textgrid(tmp_path / "tg" / "002.TextGrid", end, words=even(FORWARD, end))
    names = ["B/001", "A/001", "A/002", "B/002", "002"]
    lines = [{"id": name, "audio": "B_001.flac", "text": FORWARD} for name in names]
    made, rejected, _ = speech(lines, "--aligner", f"textgrid:{tmp_path / 'tg'}")
    assert made.keys() == {"A/001", "002"}
    assert {r["reason"] for r in rejected.values()} == {"no alignment"}
    assert "shares an alignment" in rejected["A/002"]["message"]
    made, rejected, _ = speech(lines[:1], "--aligner", f"textgrid:{tmp_path / 'tg'}")
    assert not made and "no file has its name" in rejected["B/001"]["message"]


def test_words_of_another_text_are_refused_and_other_spellings_are_not(speech, tmp_path, forward):
    soundfile.write(tmp_path / "u1.flac", forward, 16000)
    end, spelt = len(forward) / 16000, "Press, 8 to forward the message to another user!"
    for name, said in (("other", "completely different words"), ("spelt", FORWARD)):
        textgrid(tmp_path / name / "u1.TextGrid", end, words=even(said, end))
        made, rejected, printed = speech(
            [{"audio": "u1.flac", "text": spelt}], "--aligner", f"textgrid:{tmp_path / name}"
        )
        assert (name == "spelt") == ("u1" in made)
        assert "unlike the transcript's" not in printed
    (tmp_path / "one.ctm").write_text("".join(f"u1 1 {a} {b - a} {w}\n" for w, a, b in even(f"{FORWARD} now", end)))
    made, rejected, printed = speech([{"audio": "u1.flac", "text": spelt}], "--aligner", f"ctm:{tmp_path / 'one.ctm'}")
    assert "u1" in made and "1 words unlike the transcript's" in printed


def test_parts_of_a_long_recording_are_cut_by_offset_and_duration(speech, tmp_path, forward, placed):
    soundfile.write(tmp_path / "a.flac", np.concatenate([forward, placed]), 16000)
    soundfile.write(tmp_path / "b.flac", forward, 16000)
    end = len(forward) / 16000
    lines = [
        {"audio": "a.flac", "offset": 0, "duration": end, "text": FORWARD},
        {"audio": "a.flac", "offset": end, "duration": len(placed) / 16000, "text": PLACED},
        {"audio": "b.flac", "text": FORWARD},
        {"id": "late", "audio": "b.flac", "offset": end - 1, "duration": 2, "text": FORWARD},
        {"id": "behind", "audio": "b.flac", "offset": end + 9, "text": FORWARD},
    ]
    made, rejected, _ = speech(lines)
    np.testing.assert_array_equal(made["a"].units, made["b"].units)
    assert len(made[f"a-{end:.3f}"].units) == round(len(placed) / 640)
    assert {name: r["reason"] for name, r in rejected.items()} == dict.fromkeys(["late", "behind"], "beyond the end")


def test_no_field_is_passed_over_in_silence(speech, tmp_path, forward):
    soundfile.write(tmp_path / "a.flac", forward, 16000)
    code, _, printed = speech([{"audio": "a.flac", "text": FORWARD, "start": 1.5}])
    assert code == 3 and "m.jsonl: line 1: has start, which say what part" in printed
    made, _, printed = speech(
        [{"audio": "a.flac", "text": FORWARD, "mood": "calm", "split": "x"}], "--where", "split=x"
    )
    assert "a" in made and "fields that are not read, and their lines: mood (1)\n" in printed


def test_marks_of_sounds_are_silence_or_unknown_but_never_words(speech, tmp_path, forward):
    soundfile.write(tmp_path / "u1.flac", forward, 16000)
    end = len(forward) / 16000
    marked = FORWARD.replace("forward", "[laughter] forward").replace("user", "<noise> user [some one coughs]")
    lines = [
        {"id": "marked", "audio": "u1.flac", "text": marked},
        {"id": "unknown", "audio": "u1.flac", "text": FORWARD.replace("message", "<unk>")},
    ]
    made, rejected, printed = speech(lines)
    assert [w.text for w in made["marked"].words] == FORWARD.split()
    assert rejected["unknown"]["reason"] == "unknown word" and "3 marks that are no words" in printed
    for name, label in (("marked", "<sil>"), ("unknown", "<unk>")):
        words = even(FORWARD.replace("forward", f"{label} forward"), end)
        textgrid(tmp_path / "tg" / f"{name}.TextGrid", end, words=words)
    lines[1]["text"] = FORWARD
    made, rejected, _ = speech(lines, "--aligner", f"textgrid:{tmp_path / 'tg'}")
    assert [w.text for w in made["marked"].words] == FORWARD.split()
    assert rejected["unknown"]["reason"] == "unknown word"


# One item must never end the whole


def test_recordings_of_every_bad_kind_are_counted_and_the_rest_is_prepared(speech, tmp_path, forward):
    soundfile.write(tmp_path / "good.flac", forward, 16000)
    (tmp_path / "a.raw").write_bytes(bytes(2000))
    soundfile.write(tmp_path / "slow.wav", forward[:1000], 1)
    huge = bytearray((tmp_path / "slow.wav").read_bytes())
    huge[24:28], huge[40:44] = (16000).to_bytes(4, "little"), (0xFFFFFFF0).to_bytes(4, "little")
    (tmp_path / "huge.wav").write_bytes(bytes(huge))
    names = {"raw": "a.raw", "slow": "slow.wav", "huge": "huge.wav", "long": "x" * 300 + ".wav", "good": "good.flac"}
    made, rejected, _ = speech([{"id": i, "audio": a, "text": FORWARD} for i, a in names.items()])
    assert made.keys() == {"good"} and rejected.keys() == names.keys() - {"good"}
    assert rejected["raw"]["reason"] == rejected["long"]["reason"] == "unreadable audio"
    assert rejected["slow"]["reason"] == "absurd rate"


def test_a_flac_whose_header_does_not_say_its_length_is_read(speech, tmp_path, forward):
    soundfile.write(tmp_path / "a.flac", forward, 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    assert content[4] & 127 == 0  # STREAMINFO: total samples are 36 bits from the low half of byte 13 of its body
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(bytes(content))
    lines = [{"audio": f"{name}.flac", "text": FORWARD} for name in "ab"]
    lines.append({"id": "part", "audio": "b.flac", "text": "another user", "offset": 2.4})
    made, rejected, _ = speech(lines, "--most-outside", "9", "--least-score", "-20")
    np.testing.assert_array_equal(made["a"].units, made["b"].units)
    assert "part" in made and not rejected


def test_halves_of_surrogate_pairs_are_that_items_alone(text, speech, tmp_path):
    (tmp_path / "m1.jsonl").write_text('{"text":"fine"}\n{"text":"half a pair \\ud83d here"}\n{"text":"a\\u0000b"}\n')
    found, rejected, _ = text(tmp_path / "m1.jsonl")
    assert [t for _, t in found] == ["fine"]
    assert [(r["id"].rpartition("/")[2], r["reason"]) for r in rejected] == [
        ("m1.jsonl: line 2", "not text"),
        ("m1.jsonl: line 3", "not text"),
    ]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"text":"caf\xe9"}', "is not UTF-8 text"),
        (b'{"text":"fi', "is not JSON"),
        (b'{"text":null}', "text must be a string, not NoneType"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"id":' + b"9" * 5000 + b',"text":"a"}', "is not JSON"),
    ],
)
def test_a_bad_line_is_named_and_can_be_skipped(text, tmp_path, bad, message):
    (tmp_path / "b.jsonl").write_bytes(b'{"text":"fine"}\n\n' + bad + b'\n{"text":"good","id":7}\n')
    _, _, (code, printed) = text(tmp_path / "b.jsonl")
    assert code == 3 and f"b.jsonl: line 3: {message}" in printed and printed.count("\n") == 1
    found, rejected, _ = text(tmp_path / "b.jsonl", options=["--skip-bad"])
    assert found == [("b.jsonl:1", "fine"), ("7", "good")]
    assert len(rejected) == 1 and message in rejected[0]["message"]


def test_a_bad_line_of_a_speech_manifest_can_be_skipped(speech, tmp_path, forward):
    soundfile.write(tmp_path / "a.flac", forward, 16000)
    lines = [{"id": 1, "audio": "a.flac", "text": FORWARD}, "{", {"audio": "a.flac", "text": None}]
    code, _, printed = speech(lines)
    assert code == 3 and "m.jsonl: line 2: is not JSON" in printed
    made, rejected, _ = speech(lines, "--skip-bad")
    assert made.keys() == {"1"} and [r["reason"] for r in rejected.values()] == ["not JSON", "wrong type"]


def test_files_of_one_name_are_two_files(text, tmp_path):
    for name in ("dump1", "dump2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-0.jsonl").write_text(f'{{"text": "a document of {name}"}}\n')
    found, _, _ = text(tmp_path / "dump1" / "part-0.jsonl", tmp_path / "dump2" / "part-0.jsonl")
    assert found == [(f"{n}/part-0.jsonl:1", f"a document of {n}") for n in ("dump1", "dump2")]


# Forms that corpora have


def test_byte_order_marks_are_passed_over(text, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "hello"}\n')
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbffirst line\nsecond line\n")
    assert text(tmp_path / "a.jsonl")[0] == [("a.jsonl:1", "hello")]
    assert text(tmp_path / "t.txt")[0] == [("t.txt:1", "first line"), ("t.txt:2", "second line")]


def test_compressed_files_are_read(text, tmp_path):
    (tmp_path / "c4.json.gz").write_bytes(gzip.compress(b'{"text": "hello"}\n'))
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"one\n"))
    assert text(tmp_path / "c4.json.gz", tmp_path / "t.txt.gz")[0] == [("c4.json.gz:1", "hello"), ("t.txt.gz:1", "one")]
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b'{"text": "hello"}\n')[:-9])
    _, _, (code, printed) = text(tmp_path / "cut.json.gz")
    assert code == 3 and "cut.json.gz: cannot be read" in printed


@pytest.mark.parametrize(
    ("folder", "transcripts", "line", "audio"),
    [
        ("84/121", "84-121.trans.txt", "84-121-0000 {}", "84/121/84-121-0000.wav"),
        ("84/121", "84-121.trans.txt", "84-121-0000\t{}", "84/121/84-121-0000.flac"),
        ("84/121", "84-121.trans.txt", "\ufeff84-121-0000 {}", "84/121/84-121-0000.flac"),
        ("train", "transcripts.txt", "84_121_000000\t{}", "train/audio/84/121/84_121_000000.flac"),
    ],
)
def test_trees_of_corpora_are_read(speech, tmp_path, forward, folder, transcripts, line, audio):
    (tmp_path / "tree" / folder).mkdir(parents=True)
    (tmp_path / "tree" / folder / transcripts).write_text(line.format(FORWARD.upper()) + "\n", encoding="utf-8")
    (tmp_path / "tree" / audio).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(tmp_path / "tree" / audio, forward, 16000)
    made, rejected, _ = speech([], manifest=tmp_path / "tree")
    ((name, utterance),) = made.items()
    assert audio.endswith(f"{name}{audio[audio.rindex('.') :]}") and utterance.speaker == "84" and not rejected
    assert [w.text for w in utterance.words] == FORWARD.split()


def test_a_manifest_of_nemo_is_read(speech, tmp_path, forward):
    soundfile.write(tmp_path / "u1.flac", forward, 16000)
    made, _, _ = speech([{"audio_filepath": "u1.flac", "duration": len(forward) / 16000, "text": FORWARD}])
    assert made["u1"].words[-1].text == "user"


# A fix that a message names is an option of the command


def test_tiers_and_channels_of_alignments_are_chosen_on_the_command_line(speech, tmp_path, forward):
    soundfile.write(tmp_path / "u1.flac", forward, 16000)
    end, line = len(forward) / 16000, {"audio": "u1.flac", "text": FORWARD}
    textgrid(tmp_path / "tg" / "u1.TextGrid", end, spk1_words=even(FORWARD, end), spk2_words=even("hm", end))
    ctm = "".join(f"u1 A {a:.2f} {b - a:.2f} {word}\n" for word, a, b in even(FORWARD, end - 0.1))
    (tmp_path / "w.ctm").write_text(f"{ctm}u1 B 0.1 0.2 hm\n")
    for spec, option, value in [
        (f"textgrid:{tmp_path / 'tg'}", "--tier", "spk1 - words"),
        (f"ctm:{tmp_path / 'w.ctm'}", "--channel", "A"),
    ]:
        _, rejected, _ = speech([line], "--aligner", spec)
        assert option in rejected["u1"]["message"]
        made, _, _ = speech([line], "--aligner", spec, option, value)
        assert [w.text for w in made["u1"].words] == FORWARD.split()
    _, _, printed = speech([line], "--tier", "x")
    assert "--tier: is for --aligner textgrid:PATH, not for pocketsphinx" in printed


def test_sound_that_is_no_speech_does_not_end_the_command(speech, tmp_path):
    soundfile.write(tmp_path / "tone.wav", sweep(1.0, 300), 16000)
    made, rejected, _ = speech([{"audio": "tone.wav", "text": FORWARD}])
    assert not made and rejected.keys() == {"tone"}
