import argparse
import json
import signal
import subprocess
import sys

import pytest
from import_samples import utterance

from lst_jax.cli import export, import_
from lst_jax.core.errors import DataError, StorageError
from lst_jax.data import shards
from lst_jax.data.importers import lst_release, unit_lines, write
from lst_jax.data.sources import open_records

GOOD = [utterance(f"u{i}", source="made", speaker="s") for i in range(5)]


def run(*arguments):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    import_.add_arguments(commands)
    export.add_arguments(commands)
    args = parser.parse_args([str(a) for a in arguments])
    return args.run(args)


@pytest.fixture
def units_file(tmp_path):
    path = tmp_path / "units.jsonl"
    path.write_text("".join(unit_lines.format_line(u, 50.0) + "\n" for u in GOOD))
    return path


@pytest.fixture
def directory(tmp_path, units_file):
    assert run("import", "units", units_file, "--codebook-size", 10, "--out", tmp_path / "records") == 0
    return tmp_path / "records"


def test_a_unit_file_becomes_a_directory_with_what_it_says(tmp_path, units_file):
    out = tmp_path / "records"
    run(
        "import",
        "units",
        units_file,
        "--codebook-size",
        10,
        "--codebook-fingerprint",
        "mine",
        "--shard-records",
        2,
        "--out",
        out,
    )
    found = shards.RecordDirectory(out, "utterance")
    found.verify()
    metadata = found.metadata
    assert list(found) == GOOD and [s.records for s in metadata.shards] == [2, 2, 1]
    assert (metadata.unit_rate, metadata.codebook_size, metadata.codebook_fingerprint, metadata.aligner) == (
        50.0,
        10,
        "mine",
        "import/units",
    )
    assert (metadata.records, metadata.frames, metadata.words) == (5, 40, 10)


def test_bad_lines_stop_the_import_and_leave_nothing(tmp_path, units_file):
    units_file.write_text(units_file.read_text() + "{\n")
    with pytest.raises(DataError, match="units.jsonl: line 6: is not JSON"):
        run("import", "units", units_file, "--codebook-size", 10, "--out", tmp_path / "records")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["units.jsonl"]


def test_skipped_lines_are_counted_in_the_report(tmp_path, units_file, capsys):
    units_file.write_text("{\n" + units_file.read_text() + '{"id": "x", "units": []}\n[]\n')
    run("import", "units", units_file, "--unit-rate", 50, "--codebook-size", 10, "--out", tmp_path / "r", "--skip-bad")
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert (report["items"], report["prepared"], report["rejected"]) == (8, 5, 3)
    assert {reason: entry["count"] for reason, entry in report["reasons"].items()} == {"not JSON": 2, "no units": 1}
    assert report["reasons"]["no units"]["examples"][0].startswith(f"{units_file}: line 7: ")
    assert "3 rejected (2 not JSON, 1 no units)" in capsys.readouterr().out


def test_nothing_but_bad_lines_is_an_error_with_an_example(tmp_path):
    (tmp_path / "bad").write_text("{\n")
    with pytest.raises(DataError, match="nothing to write, 1 rejected .*line 1"):
        run("import", "lst", tmp_path / "bad", "--out", tmp_path / "r", "--skip-bad")
    assert not (tmp_path / "r").exists()


def test_what_is_there_is_replaced_only_when_asked_and_only_if_it_is_records(tmp_path, units_file, directory):
    arguments = ("import", "units", units_file, "--codebook-size", 20, "--out", directory)
    with pytest.raises(DataError, match="is there already.*--overwrite"):
        run(*arguments)
    run(*arguments, "--overwrite")
    assert shards.read_metadata(directory).codebook_size == 20
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="is no directory of records"):
        run(*arguments[:-1], tmp_path / "mine", "--overwrite")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("units", "--codebook-size", 10), "--unit-rate: .* for example 25"),
        (("units", "--codebook-size", 10, "--unit-rate", 0), "--unit-rate"),
        (("units", "--codebook-size", 0, "--unit-rate", 25), "--codebook-size 0"),
        (("lst", "--shard-records", 0), "shard_records=0"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path, arguments, message):
    (tmp_path / "f").write_text('{"id": "a", "units": [1]}\n')
    with pytest.raises(DataError, match=message):
        run("import", arguments[0], tmp_path / "f", "--out", tmp_path / "r", *arguments[1:])


@pytest.mark.parametrize("format_name", ["lst", "slamkit", "units"])
def test_records_go_out_and_come_back_through_unit_formats(tmp_path, directory, format_name):
    file, again = tmp_path / "file", tmp_path / "again"
    run("export", format_name, directory, "--out", file)
    rate = {"lst": ["--unit-rate", 50], "slamkit": ["--unit-rate", 50], "units": []}[format_name]
    run("import", format_name, file, "--codebook-size", 10, "--out", again, "--source", "made", *rate)
    lost = {"lst": None, "slamkit": None, "units": "s"}[format_name]
    assert list(open_records(str(again), "utterance")) == [utterance(u.id, "made", lost) for u in GOOD]
    with pytest.raises(DataError, match="is there already"):
        run("export", format_name, directory, "--out", file)


@pytest.mark.parametrize("format_name", ["moshi", "textgrid", "ctm", "librispeech"])
def test_words_go_out_and_come_back_to_their_units(tmp_path, directory, format_name):
    file = tmp_path / "file.txt"
    run("export", format_name, directory, "--out", file)
    run("import", format_name, file, "--units", directory, "--out", tmp_path / "again")
    again = open_records(str(tmp_path / "again"), "utterance")
    assert list(again) == GOOD and again.metadata.unit_rate == 50.0


def test_records_a_format_cannot_hold_stop_the_export_or_are_counted(tmp_path, directory, capsys):
    origin = write.Origin(50.0, 10, None, None)
    bad = utterance("bad id")
    write.write_directory([*GOOD, bad], directory, origin, write.Tally(), overwrite=True)
    with pytest.raises(DataError, match="bad id: text 'bad id' is not one word"):
        run("export", "ctm", directory, "--out", tmp_path / "f.ctm")
    assert not (tmp_path / "f.ctm").exists()
    run("export", "ctm", directory, "--out", tmp_path / "f.ctm", "--skip-bad")
    assert len((tmp_path / "f.ctm").read_text().splitlines()) == 10
    assert "5 utterances, 1 rejected" in capsys.readouterr().out


KILLED = """
import os, signal, sys
from lst_jax.cli import main
real, left = os.replace, [int(sys.argv[1])]
def replace(source, target):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
os.replace = replace
sys.exit(main.main(sys.argv[2:]))
"""


def names_and_bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("format_name", "done"), [("textgrid", 3), ("moshi", 1), ("ctm", 0), ("lst", 0), ("units", 0), ("tfds", 0)]
)
def test_an_export_that_was_killed_goes_on_with_the_same_command(tmp_path, directory, format_name, done):
    source = f"train={directory}" if format_name == "tfds" else directory
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
    run("export", format_name, source, "--out", tmp_path / "unbroken" / "out")
    command = ["export", format_name, str(source), "--out", str(tmp_path / "killed" / "out")]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(done), *command])
    assert killed.returncode == -signal.SIGKILL
    assert names_and_bytes(tmp_path / "killed") != names_and_bytes(tmp_path / "unbroken")
    assert run(*command) == 0
    assert names_and_bytes(tmp_path / "killed") == names_and_bytes(tmp_path / "unbroken")


def test_a_tree_goes_on_beside_files_of_others_but_never_over_them(tmp_path, directory):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "u3.wav").write_text("sound")
    run("export", "textgrid", directory, "--out", tmp_path / "out")
    written = (tmp_path / "out" / "u3.TextGrid").stat().st_mtime_ns
    assert run("export", "textgrid", directory, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "u3.TextGrid").stat().st_mtime_ns == written
    (tmp_path / "out" / "u3.TextGrid").write_text("mine")
    with pytest.raises(DataError, match=r"u3.TextGrid: is there already and holds something else; .* --overwrite"):
        run("export", "textgrid", directory, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "u3.TextGrid").read_text() == "mine"
    assert run("export", "textgrid", directory, "--out", tmp_path / "out", "--overwrite") == 0
    assert (tmp_path / "out" / "u3.TextGrid").read_text() != "mine"


def test_splits_go_out_as_one_tfds_dataset(tmp_path, directory, capsys):
    run("export", "tfds", f"train={directory}", f"valid={directory}", "--out", tmp_path / "tfds")
    folder = capsys.readouterr().out.strip()
    assert list(open_records(f"tfds:{folder}#valid", "utterance")) == GOOD
    for rules in ([str(directory)], [f"a={directory}", f"a={directory}"], ["a="]):
        with pytest.raises(DataError, match="must be SPLIT=DIR"):
            run("export", "tfds", *rules, "--out", tmp_path / "other")


def test_ids_cannot_lead_out_of_the_folder(tmp_path, directory):
    write.write_directory(
        [utterance("../../u")], directory, write.Origin(50.0, 10, None, None), write.Tally(), overwrite=True
    )
    with pytest.raises(DataError, match="leads out of"):
        run("export", "textgrid", directory, "--out", tmp_path / "a" / "b")


def test_the_same_file_imported_twice_gives_the_same_bytes(tmp_path):
    (tmp_path / "f").write_text("".join(lst_release.format_line(u) + "\n" for u in GOOD))
    for name in ("a", "b"):
        run("import", "lst", tmp_path / "f", "--out", tmp_path / name)
    assert (tmp_path / "a" / "metadata.json").read_bytes() == (tmp_path / "b" / "metadata.json").read_bytes()


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path, units_file):
    with pytest.raises(StorageError, match="cannot write"):
        run("import", "units", units_file, "--codebook-size", 10, "--out", units_file / "r")
