"""The page of a run: a section for each kind of evaluation, and what lies beside the run must not spoil it."""

import json

import pytest
import reported_run
from evaluation_records import FIELDS
from prometheus_client.parser import text_string_to_metric_families

from lst_jax.cli import main
from lst_jax.core.errors import DataError
from lst_jax.evals.records import store
from lst_jax.report import run_files, run_page
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.lines import FileLines

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_kind_of_evaluation_has_a_section_and_an_unknown_one_is_named(tmp_path, capsys):
    run = reported_run.make(tmp_path / "run")
    for kind, fields in FIELDS.items():
        store.write(run.path, store.build(kind, fields))
    (run.path / "evaluations" / "later.json").write_text('{"kind": "vision", "step": 1}')
    assert main.main(["report", str(run.path)]) == 0
    shown, said = capsys.readouterr()
    page = (run.path / "report.html").read_text()
    for kind in store.KINDS.values():
        assert f"<h2>{kind.TITLE}</h2>" in page
    for row in ("word error rate, valid", "swuggy S→S", "silhouette of words", "heard by ear", "completion choice S→T"):
        assert row in shown and row in page
    assert said.count("\n") == 1 and "later.json: passed over (kind='vision' is not one of" in said
    assert "later.json: passed over" in page
    summary = json.loads((run.path / "report.json").read_text())
    assert [one["task"] for one in summary["tasks"]] == ["swuggy"]
    assert [one["kind"] for one in summary["evaluations"]] == ["likelihood", "asr", "tts", "probe"]
    assert len(summary["evaluations_passed_over"]) == 1


def watched_run(path):
    """A run with a first step, a slow host, a profile, a hang and heartbeats."""
    hosts = {"host_seconds": 0.1, "host_seconds_slowest": 0.75, "slowest_host": 3}
    run = reported_run.make(path, **hosts)
    told = {"first_step_sec": 41.25, "compile_sec": 2.5, "compile_sec_saved": 58.0, "programs_found": 12}
    with Ledger(FileLines(run.ledger_path), 3, 0.0) as ledger:
        ledger.first_step(4, told)
    (run.profiles_path / "00000002-00000004").mkdir(parents=True)
    run.hangs_path.mkdir()
    (run.hangs_path / "one.txt").write_text("stood still")
    run.hosts_path.mkdir()
    (run.hosts_path / "0003.json").write_text(json.dumps({"process": 3, "host": 'a"b', "step": 2}))
    (run.hosts_path / "0004.json").write_text('{"process": ')
    return run


def test_the_report_tells_of_the_first_step_of_hosts_hangs_and_profiles(tmp_path, capsys):
    run = watched_run(tmp_path / "run")
    assert main.main(["report", str(run.path)]) == 0
    shown = capsys.readouterr().out
    lines = {words: line for line in shown.splitlines() for words in FIRST_WORDS if line.startswith(words)}
    assert "41.2 s" in lines["start to first step"] and "12 found compiled" in lines["start to first step"]
    assert "0.750 s" in lines["slowest host"] and "100% of the records it was process 3" in lines["slowest host"]
    assert str(run.hangs_path / "one.txt") in lines["hangs"]
    assert f"tensorboard --logdir {run.profiles_path / '00000002-00000004'}" in lines["profiles"]
    summary = json.loads((run.path / "report.json").read_text())
    assert [start["first_step"] for start in summary["wall_time"]["starts"]][0] is None


FIRST_WORDS = ("start to first step", "slowest host", "hangs", "profiles")


def test_prometheus_gets_the_state_of_a_run_and_nothing_is_written(tmp_path, capsys):
    run = watched_run(tmp_path / "run")
    before = sorted(run.path.rglob("*"))
    assert main.main(["report", str(run.path), "--prometheus"]) == 0
    found = {}
    for family in text_string_to_metric_families(capsys.readouterr().out):
        assert family.type == "gauge" and family.documentation
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "run"}
            assert sample.labels["run"] == str(run.path)
            found[sample.name, *labels.values()] = sample.value
    assert found["lst_step",] == 3 and found["lst_steps",] == 450 and found["lst_hangs",] == 1
    assert found["lst_train", "loss"] == 5.0 and found["lst_first_step_seconds",] == 41.25
    assert found["lst_host_step", "3", 'a"b'] == 2
    assert sorted(run.path.rglob("*")) == before


def test_pictures_and_sounds_that_lead_out_of_the_run_are_not_embedded(tmp_path, capsys):
    """A page is passed on; a link in pictures/ once put /etc/passwd into it."""
    run = reported_run.make(tmp_path / "run")
    for folder in ("pictures", "sounds"):
        (run.path / folder).mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"nobody may read this")
    (run.path / "pictures" / "mine.png").write_bytes(PNG)
    (run.path / "pictures" / "same.png").symlink_to("mine.png")
    (run.path / "pictures" / "passwd.png").symlink_to(secret)
    (run.path / "pictures" / "speed.png").symlink_to(secret)  # one of the report's own pictures
    (run.path / "pictures" / "circle.png").symlink_to("circle.png")
    (run.path / "pictures" / "folder.png").mkdir()
    (run.path / "sounds" / "passwd.wav").symlink_to(secret)
    assert main.main(["report", str(run.path)]) == 0
    said = capsys.readouterr().err
    page = (run.path / "report.html").read_text()
    assert run_page.html_page.embed(secret.read_bytes(), "image/png").partition(",")[2] not in page
    assert secret.read_bytes() == b"nobody may read this"
    assert "<h2>Mine</h2>" in page and "<h2>Same</h2>" in page and "<h2>Speed</h2>" in page
    assert "passwd.png: passed over, it leads out of the run" in said and "passwd.wav: passed over" in said
    assert not (run.path / "pictures" / "speed.png").is_symlink()


def test_a_folder_of_pictures_that_leads_out_of_the_run_is_not_written_to(tmp_path, capsys):
    run = reported_run.make(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (run.path / "pictures").symlink_to(tmp_path / "elsewhere")
    assert main.main(["report", str(run.path)]) == DataError.exit_code
    assert "pictures: leads out of the run; remove the symbolic link" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_run_that_is_itself_reached_by_a_link_is_shown(tmp_path):
    run = reported_run.make(tmp_path / "run")
    (tmp_path / "link").symlink_to(run.path)
    assert main.main(["report", str(tmp_path / "link")]) == 0
    assert run_files.own_files(tmp_path / "link", "pictures", ".png")[1] == []


@pytest.mark.parametrize("bits", [float("nan"), pytest.param(float("inf"), marks=pytest.mark.slow)])
def test_steps_that_are_not_finite_can_be_drawn(bits, tmp_path):
    run = reported_run.make(tmp_path / "run", bits_per_text_token=bits, loss=bits)
    assert main.main(["report", str(run.path)]) == 0


def test_a_picture_that_the_records_do_not_allow_is_named_and_the_others_are_drawn(tmp_path, capsys):
    run = reported_run.make(tmp_path / "run")
    lines = run.metrics_path.read_text().splitlines()
    last = json.loads(lines[-1])
    strange = last | {"kind": "eval", "completion/s_to_s/sum": "high", "completion/s_to_s/items": None}
    run.metrics_path.write_text("\n".join([*lines, json.dumps(strange | {"step": last["step"] + 1})]) + "\n")
    assert main.main(["report", str(run.path)]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "completion.png: not drawn, the records hold what no picture can show" in said
    assert "<h2>Speed</h2>" in (run.path / "report.html").read_text()
