import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import pytest
from training_run import make_config, make_data, tokenizer_of

from lst_jax import report, train
from lst_jax.errors import RESTART_EXIT_CODE, CheckpointError, ConfigError, DataError, StorageError, UserError
from lst_jax.run_dir import RunDirectory

TIMES = ("seconds_per_step", "tokens_per_second", "units_per_second", "mfu", "peak_flops")


def learned(run):
    """All records of a run but for what a clock says."""
    return [{k: v for k, v in r.items() if k not in TIMES} for r in RunDirectory(run).read_metrics()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    tokenizer_of(folder)
    return folder


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train.train(RunDirectory(run), make_config(data)) == 0
    return run


def start_process(run, data, file_size=resource.RLIM_INFINITY):
    tests = pathlib.Path(__file__).parent
    limit = f"ulimit -f {file_size // 1024 if file_size > 0 else 'unlimited'}"
    paths = os.pathsep.join([str(tests.parent), str(tests / "data")])
    program = [sys.executable, tests / "training_run.py", run, data]
    return subprocess.Popen(["bash", "-c", f'{limit}; exec "$@"', "-", *program], stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"PYTHONPATH": paths})


def wait_for(condition, process):
    """Returns when `condition()` holds; fails where the process ends before."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"did not come: {process.stderr.read() if process.poll() is not None else 'too slow'}")


def recorded(run, step):
    metrics = run / "metrics.jsonl"
    return metrics.exists() and f'"step": {step},' in metrics.read_text()


def finish(process):
    """The exit code, with what was said shown where a test fails."""
    print(process.communicate(timeout=120)[1])
    return process.returncode


def test_every_step_and_evaluation_is_recorded_once(unbroken):
    records = learned(unbroken)
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 9))
    assert [r["step"] for r in records if r["kind"] == "eval"] == [4, 8]
    assert all(0 < r["loss"] < 20 for r in records if r["kind"] == "train")
    last = records[-1]
    assert {"heldout/speech/bits_per_second_speech", "completion/s2s/mean", "completion/t2t/sum_low"} <= last.keys()
    assert all(last[f"completion/{d}/items"] == 4 for d in ("s2s", "t2t", "s2t", "t2s"))


def test_records_carry_what_the_data_path_counted(unbroken):
    for record in learned(unbroken):
        if record["kind"] == "train":
            assert 0 < record["unit_fill"] <= 1 and 0 < record["token_fill"] <= 1
            assert record["share/speech"] + record["share/text"] == pytest.approx(1)
            assert 1 <= record["mean_patch_frames"] < 20
    probability = [r["aligned_probability"] for r in learned(unbroken) if r["kind"] == "train"]
    assert probability == [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]


def test_killed_and_terminated_runs_go_on_bit_for_bit(unbroken, data, tmp_path):
    run = tmp_path / "run"
    process = start_process(run, data)
    wait_for(lambda: recorded(run, 5), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = start_process(run, data)
    wait_for(lambda: len((run / "starts.jsonl").read_text().splitlines()) == 2, process)
    process.send_signal(signal.SIGTERM)  # while it compiles, or after its first steps
    assert finish(process) == RESTART_EXIT_CODE
    assert finish(start_process(run, data)) == 0
    assert learned(run) == learned(unbroken)
    starts = [json.loads(line)["step"] for line in (run / "starts.jsonl").read_text().splitlines()]
    assert len(starts) == 3 and starts[0] == 0 and starts[1] in (0, 3) and 4 <= starts[2] <= 8


def test_a_full_disk_ends_in_one_line_and_loses_nothing(unbroken, data, tmp_path):
    """A limit on the size of files stands for the full disk; the run goes on where the last whole checkpoint was."""
    run = tmp_path / "run"
    process = start_process(run, data, file_size=150_000)
    _, said = process.communicate(timeout=120)
    assert process.returncode == StorageError.exit_code, said
    # the libraries' threads may have their say before and after
    assert any("checkpoints: cannot write (no space left); free space" in line for line in said.splitlines())
    assert finish(start_process(run, data)) == 0
    assert learned(run) == learned(unbroken)


def test_a_run_resumes_from_its_path_alone(unbroken, data, tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    monkeypatch.setattr(train.StopRequest, "requested", True, raising=False)
    monkeypatch.setattr(train.StopRequest, "__init__", lambda self: None)
    assert train.train(run, make_config(data)) == RESTART_EXIT_CODE
    monkeypatch.undo()
    assert train.train(run, None) == 0
    assert learned(run.path) == learned(unbroken)


def test_a_finished_run_says_that_nothing_is_left(unbroken, data, capsys):
    assert train.train(RunDirectory(unbroken), make_config(data)) == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_another_configuration_is_refused_by_field(unbroken, data):
    config = make_config(data)
    other = dataclasses.replace(config, optim=dataclasses.replace(config.optim, beta2=0.9))
    with pytest.raises(ConfigError, match=r"optim\.beta2=0\.9: .*unbroken was made with 0\.95"):
        train.train(RunDirectory(unbroken), other)


def test_a_checkpoint_of_another_configuration_is_refused_even_without_the_run_s_record(unbroken, data, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(unbroken / "checkpoints")
    config = make_config(data)
    with pytest.raises(ConfigError, match=r"seed=3: checkpoint 8 was made with 0"):
        train.train(RunDirectory(tmp_path / "run"), dataclasses.replace(config, seed=3))


def test_other_data_under_the_same_paths_is_refused(unbroken, data, tmp_path):
    make_data(tmp_path / "data")
    for shard in (tmp_path / "data" / "text").iterdir():
        shard.unlink()
    import synthetic_data
    synthetic_data.write_directory(tmp_path / "data" / "text", [synthetic_data.texts(9)], kind="text")
    (tmp_path / "data" / "tokenizer.model").write_bytes((data / "tokenizer.model").read_bytes())
    with pytest.raises(CheckpointError, match="was trained on data"):
        train.train(RunDirectory(unbroken), make_config(tmp_path / "data"))


def test_a_missing_source_is_named(data, tmp_path):
    config = make_config(data)
    source = dataclasses.replace(config.data.sources[0], path=str(tmp_path / "nowhere"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, sources=(source,)))
    with pytest.raises(DataError, match="nowhere: no such directory"):
        train.train(RunDirectory(tmp_path / "run"), config)
    assert not (tmp_path / "run" / "config.json").exists()  # the corrected recipe may have this directory


def test_rows_that_do_not_divide_over_devices_are_refused(data, tmp_path):
    config = make_config(data)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, rows=6))
    with pytest.raises(ConfigError, match="data.rows=6: must be a multiple of 8: 8 parts of the mesh"):
        train.train(RunDirectory(tmp_path / "run"), config)


def test_evaluating_a_checkpoint_gives_the_run_s_own_last_numbers(unbroken, capsys):
    assert train.evaluate_run(RunDirectory(unbroken), as_json=True) == 0
    values = json.loads(capsys.readouterr().out)
    recorded = [r for r in learned(unbroken) if r["kind"] == "eval"][-1]
    assert {**values, "kind": "eval"} == recorded


def test_the_report_holds_the_final_loss_and_every_picture(unbroken):
    assert report.write_report(RunDirectory(unbroken)) == 0
    summary = json.loads((unbroken / "report.json").read_text())
    assert summary["final_loss"] == [r for r in learned(unbroken) if r["kind"] == "train"][-1]["loss"]
    page = (unbroken / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list((unbroken / "pictures").glob("*.png"))) >= 5
    assert "src='http" not in page


def test_a_report_of_nothing_says_so(tmp_path):
    with pytest.raises(UserError, match="no such run"):
        report.write_report(RunDirectory(tmp_path / "none"))
