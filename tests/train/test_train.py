import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from training_run import make_base_config, make_data
from training_run import make_config as make_lst_config

from lst_jax.core import files, json_files
from lst_jax.core.errors import (
    RESTART_EXIT_CODE,
    BadStepError,
    BusyError,
    CheckpointError,
    ConfigError,
    DataError,
    StorageError,
    UserError,
)
from lst_jax.cost.kinds import PARTS
from lst_jax.data.pipeline import BatchStream
from lst_jax.evals import evaluator
from lst_jax.report import run_page
from lst_jax.runs import ledger
from lst_jax.runs.directory import RunDirectory
from lst_jax.train import loop, session

TIMES = (
    "seconds_per_step",
    "tokens_per_second",
    "patches_per_second",
    "mfu",
    "peak_flops",
    "host_seconds",
    "host_seconds_slowest",
    "slowest_host",
)


def learned(run):
    """All records of a run but for what a clock says."""
    return [{k: v for k, v in r.items() if k not in TIMES} for r in RunDirectory(run).read_metrics()]


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    """A run of Base."""
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    assert loop.train(RunDirectory(run), make_base_config(data, checkpoint_keep_every=3)) == 0
    return run


@pytest.fixture(scope="module")
def of_lst(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "lst"
    assert loop.train(RunDirectory(run), make_lst_config(data, profile_steps="5:6")) == 0
    return run


def start_process(run, data, *arguments, compiled, file_size=None):
    """The run as a program; programs share what they compile in `compiled`."""
    tests = pathlib.Path(__file__).parents[1]
    limit = f"ulimit -f {file_size // 1024 if file_size else 'unlimited'}"
    paths = os.pathsep.join([str(tests.parent), str(tests / "helpers")])
    program = [sys.executable, tests / "helpers" / "training_run.py", run, data, "base", *arguments]
    env = {
        "PYTHONPATH": paths,
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        ["bash", "-c", f'{limit}; exec "$@"', "-", *program], stderr=subprocess.PIPE, text=True, env=os.environ | env
    )


def wait_for(condition, process):
    """Returns when `condition()` holds; fails where the process ends before."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"did not come: {process.stderr.read() if process.poll() is not None else 'too slow'}")


@pytest.fixture(scope="module")
def broken(unbroken, data, tmp_path_factory):
    """A run that was killed while it saved, met a full disk, was told to stop, and ended: its path, and what was said.

    A limit on the size of files stands for the full disk. The last start is given the run's path alone.
    """
    run, compiled = tmp_path_factory.mktemp("runs") / "broken", tmp_path_factory.mktemp("compiled") / "cache"
    # what the unbroken run has compiled; a copy, as a killed program may leave half of a file
    shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], compiled)
    killed = start_process(run, data, "6", compiled=compiled)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    full = start_process(run, data, compiled=compiled, file_size=150_000)
    _, said = full.communicate(timeout=120)
    assert full.returncode == StorageError.exit_code, said
    stopped = start_process(run, data, compiled=compiled)
    wait_for(lambda: len((run / "starts.jsonl").read_text().splitlines()) == 3, stopped)
    stopped.send_signal(signal.SIGTERM)  # while it compiles, or after its first steps
    print(stopped.communicate(timeout=120)[1])
    assert stopped.returncode == RESTART_EXIT_CODE
    assert loop.train(RunDirectory(run), None) == 0
    return run, said


def test_every_step_and_evaluation_is_recorded_once(of_lst):
    records = learned(of_lst)
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 9))
    assert [r["step"] for r in records if r["kind"] == "eval"] == [4, 8]
    assert all(0 < r["loss"] < 20 for r in records if r["kind"] == "train")
    last = records[-1]
    assert {"heldout/speech/bits_per_second_speech", "completion/s2s/mean", "completion/t2t/sum_low"} <= last.keys()
    assert all(last[f"completion/{d}/items"] == 4 for d in ("s2s", "t2t", "s2t", "t2s"))


def test_the_newest_checkpoints_are_kept_and_every_one_that_is_to_be_kept_for_ever(unbroken):
    assert sorted(p.name for p in (unbroken / "checkpoints").iterdir()) == ["00000003", "00000006", "00000008"]


def test_a_profile_names_the_parts_of_a_step(of_lst):
    (trace,) = of_lst.glob("profiles/00000005-00000006/plugins/profile/*/*.xplane.pb")
    content = trace.read_bytes()
    for scope in PARTS:
        assert scope.encode() in content, scope


def test_the_ledger_tells_how_long_the_first_step_took(unbroken):
    (start,) = ledger.split(RunDirectory(unbroken).read_ledger())
    told = start.first_step
    assert 0 < told["compile_sec"] < told["first_step_sec"] < sum(start.seconds.values())
    assert told["programs_found"] + told["programs_compiled"] > 0


def test_records_carry_what_the_data_path_counted(of_lst):
    for record in learned(of_lst):
        if record["kind"] == "train":
            assert 0 < record["patch_fill"] <= 1 and 0 < record["token_fill"] <= 1
            assert record["share/speech"] + record["share/text"] == pytest.approx(1)
            assert 1 <= record["mean_patch_frames"] < 20
    probability = [r["aligned_probability"] for r in learned(of_lst) if r["kind"] == "train"]
    assert probability == [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]


def test_a_run_that_was_killed_and_stopped_ends_as_an_unbroken_one_bit_for_bit(unbroken, broken):
    run, _ = broken
    assert learned(run) == learned(unbroken)


def test_a_kill_in_the_middle_of_a_save_and_a_full_disk_leave_the_checkpoint_before(broken):
    run, _ = broken
    steps = [start["step"] for start in json_files.read_lines(run / "starts.jsonl")]
    assert steps[:3] == [0, 3, 3] and 4 <= steps[3] <= 8


def test_a_full_disk_ends_in_one_line(broken):
    _, said = broken
    lines = [line for line in re.split(r"[\r\n]", said) if line and not line.startswith("train: ")]
    assert len(lines) == 1 and "checkpoints: cannot write (no space left); free space" in lines[0], said


def test_the_ledger_says_where_the_time_of_every_start_went(broken):
    run, _ = broken
    spent = ledger.summarize(json_files.read_lines(run / "ledger.jsonl"))
    starts = [start["seconds"] for start in spent["starts"]]
    assert [s["from_step"] for s in spent["starts"]] == [s["step"] for s in json_files.read_lines(run / "starts.jsonl")]
    assert spent["starts"][-1]["to_step"] == 8 and spent["down_sec"] > 0
    assert [start["lost"] > 0 for start in starts] == [True, True, False, False]  # steps 4 to 6, twice
    assert all(start["start"] > 0 and start["compile"] > 0 for start in starts)
    assert all(starts[0][account] > 0 for account in ledger.ACCOUNTS)
    assert 0 < spent["goodput"] < 1


@pytest.fixture(scope="module")
def gone_back(unbroken, data, tmp_path_factory):
    """A copy of the run whose newest checkpoint was damaged and then moved away as told; what was said, and its path.

    The rest was done again with other checkpoints and evaluations.
    """
    run = tmp_path_factory.mktemp("runs") / "gone_back"
    shutil.copytree(unbroken, run)
    files = (path for path in (run / "checkpoints" / "00000008").rglob("*") if path.is_file())
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        loop.train(RunDirectory(run), None)
    said = str(error.value)
    subprocess.run(said.rpartition(": ")[2].split(), check=True)
    config = make_base_config(data, checkpoint_minutes=1e-9, checkpoint_every=100)
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, every=3))
    assert loop.train(RunDirectory(run), config) == 0
    return run, said


def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_without_it_as_told(gone_back, unbroken):
    run, said = gone_back
    assert "00000008: cannot be read (" in said and " is not what was saved); " in said and "\n" not in said
    assert "move it away to go on from step 6: mv " in said
    trained = [[r for r in learned(path) if r["kind"] == "train"] for path in (run, unbroken)]
    assert trained[0] == trained[1]
    assert [start["step"] for start in json_files.read_lines(run / "starts.jsonl")] == [0, 6]
    assert ledger.summarize(json_files.read_lines(run / "ledger.jsonl"))["seconds"]["lost"] > 0  # steps 7 and 8


def test_a_save_is_due_when_the_minutes_have_passed(gone_back):
    run, _ = gone_back
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["00000007", "00000008", "00000008.damaged"]


def test_an_evaluation_that_is_missing_where_a_run_goes_on_is_made_first(gone_back, unbroken):
    run, _ = gone_back
    evaluations = [[r for r in learned(path) if r["kind"] == "eval"] for path in (run, unbroken)]
    assert [r["step"] for r in evaluations[0]] == [4, 6, 8]
    assert [evaluations[0][0], evaluations[0][2]] == evaluations[1]


def test_a_missing_evaluation_of_a_finished_run_is_made_again_with_the_same_numbers(unbroken, data, tmp_path):
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(unbroken, run.path)
    records = run.metrics_path.read_text().splitlines(keepends=True)
    run.metrics_path.write_text("".join(records[:-1]))
    assert loop.train(run, None) == 0
    assert learned(run.path) == learned(unbroken)


BAD_STEP, BAD_ROWS = 7, [1, 6]


class Poisoned(BatchStream):
    """One batch has weights that are not numbers."""

    def __next__(self):
        item = super().__next__()
        if item.step == BAD_STEP - 1:
            item.batch.weight_BT[BAD_ROWS] = np.nan
        return item


def test_a_bad_step_halts_the_run_and_its_batch_can_be_made_again_then_it_is_skipped(
    unbroken, data, tmp_path, monkeypatch
):
    config, run = make_base_config(data, log_every=4), RunDirectory(tmp_path / "run")
    shutil.copytree(unbroken, run.path)
    shutil.rmtree(run.checkpoints_path / "00000008")
    monkeypatch.setattr(session, "BatchStream", Poisoned)
    with pytest.raises(BadStepError) as error:
        loop.train(run, config)
    assert str(error.value).startswith(f"{run.path}: step 7: the loss is not finite in rows 1, 6; look at its batch")
    assert f"rebuild_batch({str(run.path)!r}, 7)" in str(error.value) and "\n" not in str(error.value)
    bad = [r for r in run.read_metrics() if r["kind"] == "bad"]
    assert [(r["step"], r["rows"]) for r in bad] == [(7, BAD_ROWS)]
    assert max(p.name for p in run.checkpoints_path.iterdir()) == "00000006"  # none behind the bad step

    monkeypatch.setattr(session, "BatchStream", BatchStream)
    stream = BatchStream(config, prefetch=0)
    expected = [next(stream) for _ in range(8)]
    for step in (7, 8):
        for ours, theirs in zip(loop.rebuild_batch(str(run.path), step).batch, expected[step - 1].batch, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    monkeypatch.setattr(session, "BatchStream", Poisoned)
    skipping = dataclasses.replace(config, train=dataclasses.replace(config.train, bad_step="skip"))
    assert loop.train(run, skipping) == 0
    records = run.read_metrics()
    assert [r["step"] for r in records if r["kind"] == "bad"] == [7]
    last = [r for r in records if r["kind"] == "train"][-1]
    assert last["step"] == 8 and last["skipped_steps"] == 1 and np.isfinite(last["loss"])


def test_a_finished_run_says_that_nothing_is_left(unbroken, data, capsys):
    assert loop.train(RunDirectory(unbroken), make_base_config(data)) == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_a_run_that_another_process_trains_is_refused(unbroken, data):
    with (
        files.exclusive_lock(unbroken, "lst train"),
        pytest.raises(BusyError, match="unbroken: another lst train is at work"),
    ):
        loop.train(RunDirectory(unbroken), make_base_config(data))


def test_another_configuration_is_refused_by_field(unbroken, data):
    config = make_base_config(data)
    other = dataclasses.replace(config, optim=dataclasses.replace(config.optim, beta2=0.9))
    with pytest.raises(ConfigError, match=r"optim\.beta2=0\.9: .*unbroken was made with 0\.95"):
        loop.train(RunDirectory(unbroken), other)


def test_a_checkpoint_of_another_configuration_is_refused_even_without_the_run_s_record(unbroken, data, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(unbroken / "checkpoints")
    config = make_base_config(data)
    with pytest.raises(ConfigError, match=r"seed=3: checkpoint 8 was made with 0"):
        loop.train(RunDirectory(tmp_path / "run"), dataclasses.replace(config, seed=3))


def test_other_data_under_the_same_paths_is_refused(unbroken, data, tmp_path):
    make_data(tmp_path / "data")
    for shard in (tmp_path / "data" / "text").iterdir():
        shard.unlink()
    import synthetic_data

    synthetic_data.write_directory(tmp_path / "data" / "text", [synthetic_data.texts(9)], kind="text")
    (tmp_path / "data" / "tokenizer.model").write_bytes((data / "tokenizer.model").read_bytes())
    with pytest.raises(CheckpointError, match="was trained on data"):
        loop.train(RunDirectory(unbroken), make_base_config(tmp_path / "data"))


def test_a_missing_source_is_named(data, tmp_path):
    config = make_base_config(data)
    source = dataclasses.replace(config.data.sources[0], path=str(tmp_path / "nowhere"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, sources=(source,)))
    with pytest.raises(DataError, match="nowhere: no such directory"):
        loop.train(RunDirectory(tmp_path / "run"), config)
    assert not (tmp_path / "run" / "config.json").exists()  # the corrected recipe may have this directory


def test_rows_that_do_not_divide_over_devices_are_refused(data, tmp_path):
    config = make_base_config(data)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, rows=6))
    with pytest.raises(ConfigError, match="data.rows=6: must be a multiple of 8: 8 parts of the mesh"):
        loop.train(RunDirectory(tmp_path / "run"), config)


def test_evaluating_a_checkpoint_gives_the_run_s_own_last_numbers(of_lst, capsys):
    assert evaluator.evaluate_run(RunDirectory(of_lst), as_json=True) == 0
    values = json.loads(capsys.readouterr().out)
    recorded = [r for r in learned(of_lst) if r["kind"] == "eval"][-1]
    assert {**values, "kind": "eval"} == recorded


def test_the_report_holds_the_final_loss_and_every_picture(unbroken):
    assert run_page.write_report(RunDirectory(unbroken)) == 0
    summary = json.loads((unbroken / "report.json").read_text())
    assert summary["final_loss"] == [r for r in learned(unbroken) if r["kind"] == "train"][-1]["loss"]
    assert summary["wall_time"]["seconds"]["step"] > 0
    page = (unbroken / "report.html").read_text()
    assert "steps that counted" in page and (unbroken / "pictures" / "wall_time.png").exists()
    assert page.count("data:image/png;base64,") == len(list((unbroken / "pictures").glob("*.png"))) >= 5
    assert "src='http" not in page


def test_a_report_of_nothing_says_so(tmp_path):
    with pytest.raises(UserError, match="no such run"):
        run_page.write_report(RunDirectory(tmp_path / "none"))


def test_a_start_is_recorded_with_the_options_of_its_compiler_and_goes_on_without_one_that_is_unknown(
    data, tmp_path, capsys
):
    run = RunDirectory(tmp_path / "run")
    options = "xla_no_such_option=true xla_cpu_enable_fast_min_max=true"
    config = make_base_config(data, steps=1, compiler_options=options)
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, sources=(), completion_items=0))
    assert loop.train(run, config) == 0
    assert run.read_starts()[-1]["compiler_options"] == {"xla_cpu_enable_fast_min_max": True}
    assert "run: compiler option xla_no_such_option=true: left out, as this compiler says" in capsys.readouterr().err
