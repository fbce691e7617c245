"""README's commands run in the order in which they stand, in a copy of their own, with few steps of a small model.

Every fenced command of `sh` is run, unless it is listed in `NOT_RUN` with the reason. So a command added to README is run by
this test from then on. The block of `bash` is the way to a cloud: see test_readme_cloud.py. `SMALLER` makes commands small; the
commands' other words are README's own.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lst_jax.cli.main import build_parser

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(sys.executable).parent
MODEL = "--set model.global_transformer.layers=1 --set model.patch_decoder.layers=1 --set data.rows=1"
STEPS = "--set train.steps=4 --set train.checkpoint_every=2 --set eval.every=4 --set eval.batches=1 --set optim.warmup_steps=1"
CURRICULUM = "--set data.patching.tau1=1 --set data.patching.tau2=3"
ROWS = "--set data.row_patches=128 --set data.row_tokens=160"
PRE_TRAINING = f"{MODEL} {ROWS} {STEPS} {CURRICULUM} --set eval.completion_items=4"

# pattern of a command -> why it is not run here
NOT_RUN = {
    r"lst .*gs://.*": "needs a bucket of Google Cloud Storage",
    r"lst prepare speech --manifest (LibriSpeech|peoples_speech)/.*": "needs the corpus; tests/prepare/corpora reads small ones",
    r"make install|source .venv/bin/activate": "the environment of the tests is installed",
    r"pip install -e .*": "installs packages",
    r"make demo-bpe": "tests/train/test_unit_piece_run.py trains on pieces of units",
    r"lst prepare spoken-task .*": "needs the extra synthesis; tests/prepare/test_spoken_task.py",
    r"python -m lst_jax.evals.harness .*": "needs the extra harness and a data set; tests/evals/test_harness.py",
    r"lst convert Llama-2-7b-hf .*": "needs a downloaded model; tests/convert/test_warm_start.py",
    r"lst train runs/7b .*": "needs a pod, and the downloaded model",
    r"lst plan .*": "needs the extra tpu; `make test-tpu`",
    r"lst sweep render .* --search.*": "needs the extra tpu; tests/jobs/sweeps/test_render.py",
    r"kubectl .*": "needs a cluster",
    r"make scaling": "an hour long",
    r"lst sweep run runs/scaling .* --dry-run": "counts 28 runs, half a minute; tests/jobs/sweeps/test_sweep_command.py",
    r"lst (sweep status|report) runs/scaling": "the sweep is an hour long; tests/jobs/sweeps/test_sweep_command.py",
}
# pattern in a command -> what stands there instead
SMALLER = {
    r"^make demo$": f"make -o .venv/installed BIN={BIN} CORPUS=corpora/small demo DEMO_OPTIONS={shlex.quote(PRE_TRAINING)}",
    r"^(lst train runs/mine --config .*)": rf"\1 {PRE_TRAINING}",
    r"^(lst train runs/demo-(asr|tts) .*)": rf"\1 {MODEL} {STEPS}",
    r"^(lst evaluate runs/demo-(asr|tts) .*)": r"\1 --items 2",
    r"--max-seconds 4": "--max-seconds 1",
    r"--max-tokens 16": "--max-tokens 4",
}


def commands() -> list[str]:
    """The commands of README's fenced blocks in order; a shell loop is one command."""
    found: list[str] = []
    loop = False
    for block in re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if loop:
                found[-1] += f"\n{line}"
            elif line.strip():
                found.append(line)
            loop = (loop or line.startswith("for ")) and line != "done"
    return found


def reason_not_to_run(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


def smaller(command: str) -> str:
    for pattern, replacement in SMALLER.items():
        command = re.sub(pattern, replacement, command)
    return command


def write_inputs(folder: pathlib.Path) -> None:
    """What a reader brings: recordings and texts of their own, a task, and the points of somebody's runs."""
    (folder / "Makefile").symlink_to(ROOT / "Makefile")
    (folder / "launch").symlink_to(ROOT / "launch")
    shutil.copytree(ROOT / "configs", folder / "configs")  # README writes a recipe there
    small, corpus = folder / "corpora/small", ROOT / "corpora/asterisk"
    small.mkdir(parents=True)
    for name in ("text.jsonl", "pronunciations.txt"):
        (small / name).symlink_to(corpus / name)
    (small / "manifest.jsonl").write_text("".join(few_recordings(corpus)))
    (folder / "speech.jsonl").symlink_to(small / "manifest.jsonl")
    (folder / "text.jsonl").symlink_to(corpus / "text.jsonl")
    item = {"prompt": {"text": "please enter"}, "choices": [{"text": "your number"}, {"text": "goodbye"}], "label": 0}
    (folder / "task.jsonl").write_text(json.dumps(item) + "\n")
    (folder / "runs/scaling").mkdir(parents=True)
    shutil.copy(ROOT / "tests/laws/paper_pairs.jsonl", folder / "runs/scaling/points.jsonl")


def few_recordings(corpus: pathlib.Path) -> Iterator[str]:
    """Lines of a manifest: some recordings of each split whose words are all in the aligner's dictionary."""
    unknown = {line.split()[0] for line in (corpus / "pronunciations.txt").read_text().splitlines()}
    room = {"train": 24, "valid": 8, "test": 8}
    for item in map(json.loads, (corpus / "manifest.jsonl").read_text().splitlines()):
        is_pictured = item["id"] == "vm-invalidpassword"  # by `make demo`
        if is_pictured or (room[item["split"]] and not unknown & set(item["text"].split())):
            room[item["split"]] -= not is_pictured
            yield json.dumps(item | {"audio": str(corpus / item["audio"])}) + "\n"


def environment(folder: pathlib.Path) -> dict[str, str]:
    """A reader's shell with the environment activated: one device, and programs compiled once for all commands."""
    ours = ("PJRT_NPROC", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    flags = os.environ["XLA_FLAGS"].split()
    return env | {
        "PATH": f"{BIN}{os.pathsep}{env['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": " ".join(flag for flag in flags if "device_count" not in flag),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def test_every_command_is_understood_and_every_exception_is_still_in_readme():
    for command in commands():
        for line in command.splitlines():
            if line.strip().startswith("lst "):
                words = shlex.split(line)[1:]
                build_parser(words[0]).parse_args(words)  # exits at an option that there is not
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in commands()), f"README no longer has {pattern}"
    for pattern in SMALLER:
        assert any(re.search(pattern, command) for command in commands()), f"README no longer has {pattern}"


@pytest.mark.slow
def test_readme_runs_from_the_demo_to_the_report(tmp_path):
    write_inputs(tmp_path)
    env = environment(tmp_path)
    for command in commands():
        if reason_not_to_run(command):
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", smaller(command)], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    for page in ("demo", "mine", "demo-asr", "demo-tts"):
        assert (tmp_path / "runs" / page / "report.html").is_file()
    evaluated = {path.stem for path in (tmp_path / "runs/mine/evaluations").glob("*.json")}
    assert {"probe"} < evaluated, evaluated
    assert (tmp_path / "please.wav").stat().st_size > 44  # more than a header
    assert (tmp_path / "runs/mine-hf/model.safetensors").is_file()
    assert (tmp_path / "runs/scaling/fits/fit.json").is_file()
