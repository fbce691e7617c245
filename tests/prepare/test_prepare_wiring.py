"""`--units`, `--aligner` and `--engine` take what they name, and say in one line what they cannot take."""

import json
import os
import pickle
import sys

import pytest

from lst_jax.cli import main
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import shards
from lst_jax.data.alignment import regroup, to_frames
from lst_jax.data.importers.registry import ALIGNMENT_FORMATS
from lst_jax.prepare import run
from lst_jax.prepare.aligners import pocket_sphinx
from lst_jax.prepare.aligners.protocol import Aligner, BatchAligner
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.recordings import load_audio

TIMES = [("that", 0.1, 0.3), ("conference", 0.3, 0.8), ("is", 0.85, 1.0), ("full", 1.0, 1.3)]
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"
0 {end} <exists> 1 "IntervalTier" "words" 0 {end} 4 {intervals}"""


def write(format_name, root, item_id, times, end):
    """Writes `times` in a format and returns the path to give."""
    root.mkdir(exist_ok=True)
    if format_name == "textgrid":
        intervals = " ".join(f'{start} {stop} "{word}"' for word, start, stop in times)
        (root / f"{item_id}.TextGrid").write_text(TEXTGRID.format(end=end, intervals=intervals))
    elif format_name == "moshi":
        entries = [[word, [start, stop], "SPEAKER_MAIN"] for word, start, stop in times]
        (root / f"{item_id}.json").write_text(json.dumps({"alignments": entries}))
    elif format_name == "whisper":
        words = [{"word": f" {word}", "start": start, "end": stop} for word, start, stop in times]
        (root / f"{item_id}.json").write_text(json.dumps({"segments": [{"start": 0.0, "end": end, "words": words}]}))
    elif format_name == "ctm":
        (root / "a.ctm").write_text(
            "".join(f"{item_id} 1 {start} {stop - start:.3f} {word}\n" for word, start, stop in times)
        )
        return root / "a.ctm"
    else:
        words = [word for gap in ([""], *([word] for word, *_ in times), [""]) for word in gap]
        ends = [times[0][1], *(stop for *_, stop in times), end]
        (root / "a.alignment.txt").write_text(f'{item_id} "{",".join(words)}" "{",".join(map(str, ends))}"\n')
    return root


@pytest.mark.parametrize("format_name", sorted(ALIGNMENT_FORMATS))
def test_words_of_files_enter_the_records(format_name, prompts, unit_file, tmp_path):
    audio = load_audio(prompts[0].audio)
    path = write(format_name, tmp_path / "there", prompts[0].id, TIMES, round(len(audio) / 16000, 3))
    aligner = load_aligner(f"{format_name}:{path}")
    assert isinstance(aligner, Aligner) and not isinstance(aligner, BatchAligner)
    report = run.prepare_speech(prompts, tmp_path / "out", unit_file, aligner, max_rejected=0.9)
    (utterance,) = shards.RecordDirectory(tmp_path / "out", "utterance")
    placed = aligner.align(utterance.id, audio, ["That", "conference", "is", "full!"])
    assert [word for word, *_ in placed] == ["that", "conference", "is", "full"]
    assert utterance.words == to_frames(placed, 25.0, len(utterance.units))
    assert abs(utterance.words[1].start_frame - 0.3 * 25) <= 1
    assert {(r.id, r.reason) for r in report.examples} == {(item.id, "no alignment") for item in prompts[1:]}


@pytest.mark.parametrize("format_name", sorted(ALIGNMENT_FORMATS))
def test_the_name_of_files_changes_with_their_words_and_not_with_their_place(format_name, tmp_path):
    name, names = "x", []
    for place, times in (("a", TIMES), ("b", TIMES), ("c", [*TIMES[:3], ("full", 1.0, 1.25)])):
        aligner = load_aligner(f"{format_name}:{write(format_name, tmp_path / place, name, times, 1.5)}")
        assert pickle.loads(pickle.dumps(aligner)).name == aligner.name
        names.append(aligner.name)
    assert names[0] == names[1] != names[2]


def test_files_of_another_recording_are_found_out(prompts, tmp_path):
    audio = load_audio(prompts[0].audio)
    seconds = len(audio) / 16000
    for end, times in ((seconds + 0.5, TIMES), (seconds, [*TIMES[:3], ("full", 1.0, seconds + 0.5)])):
        aligner = load_aligner(f"textgrid:{write('textgrid', tmp_path / 'x', 'u', times, end)}")
        with pytest.raises(RejectedItem, match="the audio has .* are both of one recording") as caught:
            aligner.align("u", audio, [])
        assert caught.value.reason == "other length"


def test_what_an_aligner_cannot_be_is_one_line(tmp_path):
    (tmp_path / "a.ctm").write_text("u 1 0 1 a\n")
    for arguments, message in [
        (
            ("sphinx",),
            "--aligner sphinx: must be pocketsphinx, corpus, a model's directory .*, or moshi:PATH, textgrid:PATH",
        ),
        ((str(tmp_path),), "must be pocketsphinx"),
        ((f"ctm:{tmp_path}/none",), "none: no such file"),
        ((f"ctm:{tmp_path}/a.ctm", -2.0), "--least-score=-2: words of files have no score; leave it out"),
        ((f"ctm:{tmp_path}/a.ctm", None, {"a": "AH"}), "--pronunciations: are for --aligner pocketsphinx"),
    ]:
        with pytest.raises(DataError, match=message) as caught:
            load_aligner(*arguments)
        assert "\n" not in str(caught.value)
    assert load_aligner("pocketsphinx").least_score == pocket_sphinx.LEAST_SCORE
    assert load_aligner("pocketsphinx", -2.0).least_score == -2.0


def prepare(*arguments):
    return main.main(["prepare", *map(str, arguments)])


def test_engines_on_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    text = ("text", "--manifest", tmp_path / "a.txt", "--out", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "apache_beam", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "lst_jax.prepare.engines.beam", raising=False)
    assert prepare(*text, "--engine", "beam") == DataError.exit_code
    assert capsys.readouterr().err == (
        "lst prepare: --engine beam: needs Apache Beam, which is an extra; run pip install -e '.[beam]' in a clone\n"
    )
    assert prepare(*text, "--beam-option", "runner=X") == DataError.exit_code
    assert "--beam-option runner=X: is for --engine beam" in capsys.readouterr().err
    assert prepare(*text, "--engine", "beam", "--beam-option", "=x") == DataError.exit_code
    assert "must be NAME or NAME=VALUE" in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "out")
    assert prepare(*text, "--engine", "local") == 0
    assert len(shards.RecordDirectory(tmp_path / "out", "text")) == 2


def test_a_directory_that_is_no_model_is_no_unit_tokenizer(tmp_path, capsys):
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "text": "a"}\n')
    code = prepare("speech", "--manifest", tmp_path / "m.jsonl", "--units", tmp_path, "--out", tmp_path / "out")
    assert code == DataError.exit_code and "has no config.json; give a model's directory" in capsys.readouterr().err


def test_written_words_without_spoken_ones_join_their_neighbours():
    placed = regroup(["-", "see", "-", "42", "!"], [0, 1, 0, 2, 0], [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)])
    assert placed == [("- see -", 0.0, 1.0), ("42 !", 2.0, 5.0)]
