"""CTM, LibriSpeech alignments, moshi sidecars, and their pairing with units."""

import dataclasses
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_samples import PLAIN_WORDS, RATES, built, utterance, utterance_parts

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import to_frames
from lst_jax.data.importers import alignments, ctm, librispeech, moshi
from lst_jax.data.records import Word


@given(utterance_parts(words=PLAIN_WORDS), st.sampled_from(RATES))
def test_ctm_round_trips(parts, rate):
    utterance = built(parts)
    lines = [line.split()[1:5] for line in ctm.format_lines(utterance, rate).splitlines()]
    assert to_frames(ctm.parse(lines).words, rate, len(utterance.units)) == utterance.words


def test_ctm_skips_comments_silence_and_other_channels(tmp_path):
    path = tmp_path / "a.ctm"
    path.write_text(
        ";; made by hand\nu1 A 0.5 0.25 b 0.9\nu1 A 0.1 0.2 a\nu1 A 0.75 0.1 <eps>\nu2 A 0 1 x\nu2 B 0 1 y\n"
    )
    table = ctm.open_alignments(path)
    assert table.align("u1") == table.align("some/folder/u1") == [("a", 0.1, pytest.approx(0.3)), ("b", 0.5, 0.75)]
    with pytest.raises(RejectedItem, match="line 5: has channels A, B.*--channel"):
        table.align("u2")
    assert ctm.open_alignments(path, channel="B").align("u2") == [("y", 0.0, 1.0)]
    path.write_text("u1 A 0.5\n")
    with pytest.raises(DataError, match="line 1: has 3 fields"):
        ctm.open_alignments(path)
    path.write_text("u1 A x 1 a\nu2 A 0 nan a\nu3 A 0.5 -0.1 a\nu4 A 0 1 <UNK>\n")
    messages = {"u1": "'x' is not a number", "u2": "not a finite", "u3": "ends before", "u4": "did not know"}
    for item, message in messages.items():
        with pytest.raises(RejectedItem, match=message):
            ctm.open_alignments(path).align(item)


def test_ctm_of_eight_fields_and_nemos_folders(tmp_path):
    for folder, word in (("words", "i'll"), ("segments", "i'll<space>take"), ("tokens", "▁i")):
        (tmp_path / "ctm" / folder).mkdir(parents=True)
        (tmp_path / "ctm" / folder / "u1.ctm").write_text(f"u1 1 0.00 0.32 {word} NA lex NA\n")
    assert ctm.open_alignments(tmp_path / "ctm").align("u1") == [("i'll", 0.0, 0.32)]
    with pytest.raises(RejectedItem, match="is 2 words"):
        ctm.open_alignments(tmp_path / "ctm" / "segments").align("u1")
    spoken = "u2 1 0 1 a 0.9 lex ann\nu2 1 1 1 b 0.9 lex ben\nu2 1 2 1 hm 0.9 non-lex ann\n"
    (tmp_path / "two.ctm.gz").write_bytes(gzip.compress(spoken.encode()))
    assert ctm.open_alignments(tmp_path / "two.ctm.gz").align("u2") == [("a", 0.0, 1.0), ("b", 1.0, 2.0)]
    assert ctm.open_alignments(tmp_path / "two.ctm.gz", speaker="ben").align("u2") == [("b", 1.0, 2.0)]
    with pytest.raises(DataError, match="no words of speaker eve; --speaker must be one of ann, ben"):
        ctm.open_alignments(tmp_path / "two.ctm.gz", speaker="eve")


@given(utterance_parts(words=PLAIN_WORDS), st.sampled_from(RATES))
def test_librispeech_round_trips_and_keeps_the_length(parts, rate):
    utterance = built(parts)
    line = librispeech.format_line(utterance, rate)
    _, words, ends = line.split(maxsplit=1)[0], *line.split('"')[1::2]
    found = librispeech.parse((words, ends))
    assert to_frames(found.words, rate, len(utterance.units)) == utterance.words
    assert found.duration_sec == pytest.approx(len(utterance.units) / rate, abs=1e-6)
    assert not utterance.words or (words.startswith(",") and words.endswith(","))


def test_librispeech_lines_of_the_published_form(tmp_path):
    folder = tmp_path / "dev" / "84" / "121123"
    folder.mkdir(parents=True)
    path = folder / "84-121123.alignment.txt"
    path.write_text('84-121123-0000 ",GO,,DO,YOU,HEAR," "0.490,0.890,1.270,1.380,1.490,1.890,2.09" \n')
    table = librispeech.open_alignments(tmp_path)
    assert table.align("84-121123-0000") == [
        ("go", 0.49, 0.89),
        ("do", 1.27, 1.38),
        ("you", 1.38, 1.49),
        ("hear", 1.49, 1.89),
    ]
    assert table.lookup("84-121123-0000").duration_sec == 2.09
    assert librispeech.open_alignments(path, keep_case=True).align("84-121123-0000")[0][0] == "GO"
    path.write_text('1-2-3 ",A," "0.1,0.2"\n1-2-4 ",A,","0.1,0.2"\n')
    with pytest.raises(DataError, match="line 2: must be"):
        librispeech.open_alignments(path)
    path.write_text('1-2-3 ",A," "0.1,0.2"\n')
    with pytest.raises(RejectedItem, match="line 1: has 3 words and 2 times"):
        librispeech.open_alignments(path).align("1-2-3")


@given(utterance_parts(), st.sampled_from(RATES))
def test_moshi_round_trips(parts, rate):
    utterance = built(parts)
    found = moshi.parse(json.loads(moshi.format_file(utterance, rate)), moshi.MAIN_SPEAKER, None)
    assert to_frames(found.words, rate, len(utterance.units)) == utterance.words


def test_moshi_takes_one_speaker_and_the_duration_from_the_dataset_file(tmp_path):
    sidecar = {
        "alignments": [
            ["late ", [1.0, 1.2], "SPEAKER_MAIN"],
            ["no", [0.9, 1.4], "SPEAKER_OTHER"],
            ["first", [0.1, 0.1], "SPEAKER_MAIN"],
        ],
        "text_conditions": {},
    }
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "a.json").write_text(json.dumps(sidecar))
    (tmp_path / "set.jsonl").write_text('{"path": "wav/a.wav", "duration": 2.5}\n{"path": "wav/b.wav", "duration": 1}')
    words = [("first", 0.1, 0.1), ("late", 1.0, 1.2)]
    assert moshi.open_alignments(tmp_path / "wav").align("a") == words
    found = moshi.open_alignments(tmp_path / "set.jsonl")
    assert found.align("wav/a") == words and found.lookup("wav/a").duration_sec == 2.5
    with pytest.raises(RejectedItem, match="b.json: cannot be read"):
        found.align("wav/b")
    for entry in (["a", 0.1, "S"], ["a", [0.1], "S"], ["a", [0.1, "x"], "S"], ["a", [0, 1]], "a"):
        with pytest.raises(RejectedItem, match=r"alignments\[0\]"):
            moshi.parse({"alignments": [entry]}, "S", None)


def table_of(words, duration_sec):
    return alignments.AlignmentTable(
        "made-up", {"u1": ("here", None)}, lambda item: alignments.Alignment(tuple(words), duration_sec)
    )


def test_units_get_the_words_of_their_alignment_and_keep_everything_else():
    before = utterance(speaker="s")
    (after,) = alignments.paired([before], table_of([("x", 0.0, 0.16)], 0.32), 25.0, 501, source="new")
    assert after == dataclasses.replace(before, words=(Word("x", 0, 4),), source="new")


@pytest.mark.parametrize("own, told", [("x", 0), ("X", 0), ("other", 1), (None, 0)])
def test_units_whose_own_words_were_others_are_counted(own, told):
    before = dataclasses.replace(utterance(), words=() if own is None else (Word(own, 0, 2),))
    notes = []
    list(alignments.paired([before], table_of([("x", 0.0, 0.16)], 0.32), 25.0, 501, note=notes.append))
    assert notes == told * [alignments.OTHER_WORDS]


@pytest.mark.parametrize(
    ("rate", "duration_sec", "name", "message"),
    [
        (25.0, 0.32, "u2", "has no alignment"),
        (50.0, 2.0, "u1", "check the unit rate"),
        (25.0, 0.7, "u1", "of one audio"),
    ],
)
def test_units_that_do_not_fit_their_alignment_are_refused(rate, duration_sec, name, message):
    with pytest.raises(DataError, match=f"^{name}: .*{message}") as error:
        list(alignments.paired([utterance(name)], table_of([("x", 0.0, 0.16)], duration_sec), rate, 501))
    assert str(error.value).count(f"{name}: ") == 1


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (ctm.format_lines, "two words"),
        (ctm.format_lines, "sil"),
        (librispeech.format_line, "a,b"),
        (librispeech.format_line, 'a"'),
        (moshi.format_file, " a"),
        (moshi.format_file, ""),
    ],
)
def test_words_that_could_not_be_read_back_are_not_written(form, text):
    with pytest.raises(RejectedItem):
        form(dataclasses.replace(utterance(), words=(Word(text, 0, 1),)), 25.0)
