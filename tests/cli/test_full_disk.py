"""A disk that is really full, at every stage: one line, code 5, and the same command goes on when there is space."""

import shutil

import pipeline
import pytest
import reported_run
import small_disk

from lst_jax.cli import main
from lst_jax.core.errors import StorageError

DISK_KILOBYTES = 64 * 1024


def check_said(code, said, command):
    """One line of ours, the last one; progress bars are no lines, and TensorBoard may warn of its own files."""
    ours = [line for line in said.splitlines() if "cannot write" in line and "for TensorBoard" not in line]
    assert (code, len(ours)) == (StorageError.exit_code, 1), said
    assert said.splitlines()[-1].startswith(f"lst {command[0]}: ") and "no space left" in ours[0], said
    assert "Traceback" not in said


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Inputs, and what is prepared from them on a disk with space."""
    folder = tmp_path_factory.mktemp("prepared")
    pipeline.make_inputs(folder / "inputs")
    for name, command in (("text", pipeline.prepare_text), ("speech", pipeline.prepare_speech)):
        assert main.main(command(folder / "inputs", folder / name)) == 0
    return folder


def command_of(stage, prepared, out):
    return {
        "prepare text": lambda: pipeline.prepare_text(prepared / "inputs", out),
        "prepare speech": lambda: pipeline.prepare_speech(prepared / "inputs", out),
        "export textgrid": lambda: ["export", "textgrid", str(prepared / "speech"), "--out", str(out)],
        "export tfds": lambda: ["export", "tfds", f"train={prepared / 'speech'}", "--out", str(out)],
    }[stage]()


@pytest.mark.parametrize(
    ("stage", "spare"),
    [
        ("prepare text", (0, 8, 200)),
        ("prepare speech", (0, 8, 140)),
        ("export textgrid", (0, 4)),
        ("export tfds", (0, 8)),
    ],
)
def test_what_is_made_of_a_corpus_goes_on_after_a_full_disk(prepared, tmp_path, capsys, stage, spare):
    assert main.main(command_of(stage, prepared, tmp_path / "unbroken")) == 0
    with small_disk.mounted(tmp_path / "disk", DISK_KILOBYTES) as disk:
        command = command_of(stage, prepared, disk / "out")
        for kilobytes in spare:
            with small_disk.nearly_full(disk, kilobytes):
                capsys.readouterr()
                check_said(main.main(command), capsys.readouterr().err, command)
        assert main.main(command) == 0
        assert files_of(disk / "out") == files_of(tmp_path / "unbroken")


def test_a_report_goes_on_after_a_full_disk(tmp_path, capsys):
    with small_disk.mounted(tmp_path / "disk", DISK_KILOBYTES) as disk:
        run = reported_run.make(disk / "run")
        command = ["report", str(run.path)]
        for kilobytes in (0, 40):
            with small_disk.nearly_full(disk, kilobytes):
                check_said(main.main(command), capsys.readouterr().err, command)
        assert main.main(command) == 0 and list(run.path.glob("*.html"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The whole pipeline on a disk with space, and where its programs lie compiled."""
    folder, compiled = tmp_path_factory.mktemp("trained"), tmp_path_factory.mktemp("compiled")
    pipeline.make_inputs(folder / "inputs")
    process = pipeline.start([pipeline.__file__, str(folder)], compiled)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return folder, compiled


def lst(command, compiled):
    """(exit code, standard error) of a real process, which must end by itself."""
    process = pipeline.start(["-m", "lst_jax", *command], compiled)
    _, said = process.communicate(timeout=300)
    return process.returncode, said


@pytest.mark.slow
def test_training_goes_on_after_a_full_disk_with_the_same_numbers(trained, tmp_path):
    folder, compiled = trained
    with small_disk.mounted(tmp_path / "disk", DISK_KILOBYTES) as disk:
        for name in ("text", "speech"):
            shutil.copytree(folder / name, disk / name)
        (disk / "run").mkdir()
        shutil.copy(folder / "run" / "config.json", disk / "run")
        command = ["train", str(disk / "run")]
        for kilobytes in (0, 12, 500, 3000):
            with small_disk.nearly_full(disk, kilobytes):
                check_said(*lst(command, compiled), command)
        code, said = lst(command, compiled)
        assert code == 0, said
        assert pipeline.result(disk) == pipeline.result(folder)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["evaluate", "report", "convert orbax", "convert hf"])
def test_what_follows_training_goes_on_after_a_full_disk(trained, tmp_path, stage):
    folder, compiled = trained
    with small_disk.mounted(tmp_path / "disk", DISK_KILOBYTES) as disk:
        shutil.copytree(folder / "run", disk / "run")
        command = {
            "evaluate": ["evaluate", str(disk / "run")],
            "report": ["report", str(disk / "run")],
            "convert orbax": ["convert", str(disk / "run"), str(disk / "out"), "--to", "orbax"],
            "convert hf": ["convert", str(disk / "run"), str(disk / "out"), "--to", "hf"],
        }[stage]
        for kilobytes in (0, 8) if stage == "evaluate" else (0, 40) if stage == "report" else (0, 8, 200):
            with small_disk.nearly_full(disk, 0 if stage == "evaluate" else kilobytes):
                check_said(*lst(command, compiled), command)
            assert not (disk / "out").exists()
        code, said = lst(command, compiled)
        assert code == 0, said
