import dataclasses
import json

import pytest

from lst_jax.core import json_files
from lst_jax.core.errors import ConfigError, DataError, StorageError
from lst_jax.core.files import exclusive_lock, replacing, write_text
from lst_jax.recipes.load import load_recipe
from lst_jax.runs.directory import RunDirectory, find
from lst_jax.runs.metrics import MetricsWriter


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.write_config(load_recipe("configs/demo.py"))
    return run


def test_a_run_opens_again_from_its_path_alone(run):
    assert RunDirectory(run.path).resolve(None) == load_recipe("configs/demo.py")


@pytest.mark.parametrize("what", ["record", "checkpoint"])
def test_another_configuration_is_refused_by_field(run, what):
    if what == "record":
        run.metrics_path.write_text('{"step": 1, "kind": "train"}\n')
    else:
        run.checkpoint_path(0).mkdir(parents=True)
    config = load_recipe("configs/demo.py")
    with pytest.raises(ConfigError, match=r"seed=5: .*run was made with 0; use that value, or another run directory"):
        run.resolve(dataclasses.replace(config, seed=5))


def test_a_run_without_a_single_step_accepts_a_mended_recipe(run):
    run.record_start(0, ["cpu:0"], (1e9, "measured"))
    run.metrics_path.write_text("")
    (run.checkpoints_path / "00000003.orbax-checkpoint-tmp").mkdir(parents=True)
    mended = dataclasses.replace(load_recipe("configs/demo.py"), seed=5)
    assert run.resolve(mended) == mended
    run.config_path.write_text("{")  # what is stored then does not matter
    assert run.resolve(mended) == mended


def test_a_lock_does_not_follow_a_link_out_of_the_run(run, tmp_path):
    other = tmp_path / "precious"
    other.write_text("kept")
    (run.path / "lock").symlink_to(other)
    with pytest.raises(StorageError, match="run: cannot write .*symbolic links"), exclusive_lock(run.path, "lst train"):
        raise AssertionError("not reached")
    assert other.read_text() == "kept"


def test_a_free_field_may_change(run):
    config = load_recipe("configs/demo.py")
    changed = dataclasses.replace(config, train=dataclasses.replace(config.train, log_every=9))
    run.write_config(run.resolve(changed))
    assert run.load_config().train.log_every == 9


def test_a_missing_run_says_how_to_start_one(tmp_path):
    with pytest.raises(ConfigError, match="no such run; start one with `lst train RUN --config"):
        RunDirectory(tmp_path / "none").resolve(None)


def test_metrics_have_no_gap_and_no_duplicate_after_a_resume(run):
    writer = MetricsWriter(run, 0)
    for step in range(1, 6):
        writer.write(step, "train", {"loss": float(step)})
    writer.close()
    with open(run.metrics_path, "a") as f:
        f.write('{"step": 6, "kind": "tr')  # killed in the middle of a line
    writer = MetricsWriter(run, 3)
    for step in range(4, 7):
        writer.write(step, "train", {"loss": float(step)})
    writer.close()
    assert [r["step"] for r in run.read_metrics()] == [1, 2, 3, 4, 5, 6]
    assert tensorboard_steps(run) == [1, 2, 3, 4, 5, 6]


def test_records_of_older_runs_have_the_present_names_of_metrics(run):
    run.metrics_path.write_text('{"step": 1, "kind": "train", "units": 9, "unit_fill": 0.5, "units_per_second": 2.0}\n')
    expected = {"step": 1, "kind": "train", "patches": 9, "patch_fill": 0.5, "patches_per_second": 2.0}
    assert run.read_metrics() == [expected]
    MetricsWriter(run, 1).close()
    assert json.loads(run.metrics_path.read_text()) == expected


@pytest.mark.parametrize("opened", [RunDirectory, find])
def test_a_name_that_no_file_system_takes_is_refused(opened):
    with pytest.raises(
        ConfigError, match="aaa…: this name has 300 bytes, and file systems take 255; use a shorter one"
    ):
        opened("runs/" + "a" * 300)
    assert RunDirectory("runs/" + "a" * 255).path.name == "a" * 255


def test_a_configuration_in_former_names_opens(run):
    mapping = json.loads(run.config_path.read_text())
    mapping["data"]["row_units"] = mapping["data"].pop("row_patches")
    mapping["model"]["system"] = mapping["model"].pop("architecture")
    run.config_path.write_text(json.dumps(mapping))
    assert run.resolve(load_recipe("configs/demo.py")) == run.load_config() == load_recipe("configs/demo.py")


@pytest.mark.parametrize(
    "content, said", [(b"\xff\xfe", "is not JSON: byte 0 is not UTF-8"), (b'{"name": ', "is not JSON")]
)
def test_a_damaged_configuration_is_one_line(run, content, said):
    run.config_path.write_bytes(content)
    with pytest.raises(DataError, match=rf"config\.json: {said}.*start the run again with --config"):
        run.load_config()


def tensorboard_steps(run):
    """Reads the event files record by record, as any TensorBoard reader does."""
    from tensorboardX.proto.event_pb2 import Event  # ty: ignore[missing-module-member]

    steps = []
    for file in run.tensorboard_path.iterdir():
        data = file.read_bytes()
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            steps += [event.step for v in event.summary.value if v.tag == "train/loss"]
            at += 16 + length
    return steps


def test_starts_record_versions_and_step(run):
    run.record_start(4, ["cpu:0"], (1e9, "measured"))
    line = json.loads((run.path / "starts.jsonl").read_text())
    assert line["step"] == 4
    assert line["packages"]["jax"]


def test_a_start_follows_one_whose_line_was_cut_short(run):
    run.record_start(0, ["cpu:0"], (1e9, "measured"))
    with open(run.starts_path, "a") as f:
        f.write('{"time": "2026-')
    assert [start["step"] for start in json_files.read_lines(run.starts_path)] == [0]
    run.record_start(4, ["cpu:0"], (1e9, "measured"))
    assert [start["step"] for start in json_files.read_lines(run.starts_path)] == [0, 4]


def test_a_spoilt_line_among_others_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: line 2: is not JSON .*; remove it"):
        json_files.read_lines(tmp_path / "a.jsonl")


def test_a_full_disk_fails_a_line_in_one_line_and_once(tmp_path):
    with open("/dev/full", "ab", buffering=0) as full, pytest.raises(StorageError, match="no space left"):
        json_files.add_line(full, {"a": 1})


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(StorageError, match="no space left"), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
