"""The scripts, run by real shells among stand-ins for gcloud, srun and lst: who restarts when, and what hosts see."""

import json
import pathlib
import shlex
import subprocess
import sys

import make_golden
import pytest

ARGV = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"
# `state` is a file; each `ssh` takes the next line of `runs`: STATE CODE CODE ..., a code a host
GCLOUD = """
state=$(cat state 2>/dev/null) || :
echo "$4" >> calls
case $4 in
  describe) [ -n "$state" ] && echo "$state" ;;
  create) echo ACTIVE > state ;;
  delete) rm state ;;
  ssh)
    read -r after codes < runs
    sed -i 1d runs
    for code in $codes; do printf 'loss 1.0\\r\\nlst launch: exit code %s on host\\n' "$code"; done
    [ "$after" = NONE ] && rm state || echo "$after" > state
    exit 1 ;;
esac
"""


def stand_in(folder: pathlib.Path, name: str, body: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(body if body.startswith("#!") else f"#!/bin/sh\n{body}")
    path.chmod(0o755)


def run(folder: pathlib.Path, shell: str, script: str, *words: str, **env: str) -> subprocess.CompletedProcess:
    (folder / "script").write_text(script)
    return subprocess.run(
        [shell, "script", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": "/home", **env},
    )


def babysat(tmp_path, runs: list[str]) -> tuple[int, list[str], str]:
    """Exit code, gcloud's verbs without describe, and output; of 4 hosts and at most 3 restarts."""
    stand_in(tmp_path, "gcloud", GCLOUD)
    stand_in(tmp_path, "sleep", "exit 0")
    (tmp_path / "runs").write_text("".join(f"{line}\n" for line in runs))
    (script,) = make_golden.rendered("odd_queued").values()
    found = run(tmp_path, "sh", script)
    calls = (tmp_path / "calls").read_text().split()
    return found.returncode, [verb for verb in calls if verb != "describe"], found.stdout + found.stderr


@pytest.mark.parametrize(
    "runs, code, calls",
    [
        (["ACTIVE 0 0 0 0"], 0, "create ssh delete"),
        (["ACTIVE 42 42 42 42", "ACTIVE 0 0 0 0"], 0, "create ssh ssh delete"),
        (["ACTIVE 134 139 127 255", "ACTIVE 0 0 0 0"], 0, "create ssh ssh delete"),
        (["ACTIVE 3 134 134 134"], 3, "create ssh delete"),  # one host cannot read its data: a person must act
        (["ACTIVE 134 134 134 3"], 3, "create ssh delete"),
        (["ACTIVE 2 2 2 2"], 2, "create ssh delete"),
        (["ACTIVE 1 1 1", "ACTIVE 0 0 0 0"], 0, "create ssh ssh delete"),  # a host was lost, the others miss it
        (["SUSPENDED 1 1 1 1", "ACTIVE 0 0 0 0"], 0, "create ssh delete create ssh delete"),
        (["NONE 1 42", "ACTIVE 0 0 0 0"], 0, "create ssh create ssh delete"),
        (["FAILED", "ACTIVE 0 0 0 0"], 0, "create ssh delete create ssh delete"),
        (["SUSPENDED 0 0 0 0"], 0, "create ssh delete"),  # it had ended before
        (["ACTIVE 42 42 42 42"] * 4, 42, "create ssh ssh ssh ssh delete"),  # max_restarts is 3
    ],
)
def test_the_babysitter_goes_on_after_preemptions_and_stops_for_people(tmp_path, runs, code, calls):
    assert babysat(tmp_path, runs)[:2] == (code, calls.split())


def test_the_babysitter_stops_where_machines_cannot_be_asked_for(tmp_path):
    stand_in(tmp_path, "gcloud", '[ "$4" = describe ] || { echo "no permission" >&2; exit 1; }')
    (script,) = make_golden.rendered("odd_queued").values()
    found = run(tmp_path, "sh", script)
    assert found.returncode == 1 and "no permission" in found.stderr


def test_a_host_sees_the_words_as_they_were_given_and_reports_its_code(tmp_path):
    workdir = tmp_path / "it's $(pwd)"
    workdir.mkdir()
    stand_in(tmp_path, "gcloud", f"#!{sys.executable}\nimport json, sys; print(json.dumps(sys.argv[1:]))")
    (script,) = make_golden.rendered("odd_queued").values()
    words = json.loads(run(tmp_path, "sh", script, "train").stdout)
    (remote,) = [word.removeprefix("--command=") for word in words if word.startswith("--command=")]
    remote = remote.replace(shlex.quote("/a folder/$(pwd)'s"), shlex.quote(str(workdir)))
    stand_in(tmp_path, "lst", f"#!{sys.executable}\n{ARGV}\nsys.exit(42)")
    stand_in(tmp_path, "flock", 'shift 2; exec "$@"')
    found = run(tmp_path, "bash", remote).stdout.splitlines()
    check_what_lst_saw(found[1], workdir)
    assert found[0].startswith("ready ") and found[-1].startswith("lst launch: exit code 42 on ")


def check_what_lst_saw(line: str, workdir: pathlib.Path) -> None:
    argv, cwd, env = json.loads(line)
    assert argv[:-1] == [
        "train",
        f"/a folder/runs/{make_golden.ODD_RUN}",
        "--config",
        "configs/lst.py:1b",
        "--processes",
    ]
    assert cwd == str(workdir)
    assert (env["QUOTED"], env["EMPTY"], env["TWO"]) == ('it\'s "$(HOME)" $HOME', "", "a=b")


def test_xpk_gets_one_command_that_becomes_lst(tmp_path):
    workdir = tmp_path / "it's $(pwd)"
    workdir.mkdir()
    stand_in(tmp_path, "xpk", f"#!{sys.executable}\nimport json, sys; print(json.dumps(sys.argv[1:]))")
    (script,) = make_golden.rendered("odd_xpk").values()
    words = json.loads(run(tmp_path, "sh", script).stdout)
    assert words[:2] == ["workload", "create"] and "--tpu-type=v4-2x2x2" in words and "--num-slices=2" in words
    command = words[-1].removeprefix("--command=").replace(shlex.quote("/a folder/$(pwd)'s"), shlex.quote(str(workdir)))
    stand_in(tmp_path, "lst", f"#!{sys.executable}\n{ARGV}")
    check_what_lst_saw(run(tmp_path, "bash", command).stdout, workdir)


@pytest.mark.parametrize(
    "code, before, requeued, after",
    [
        (0, None, False, 0),
        (2, None, False, 2),
        (3, None, False, 3),
        (126, None, False, 126),
        (42, None, True, 0),
        (127, None, True, 0),
        (134, 1, True, 0),
        (143, 2, True, 0),
        (42, 3, False, 42),
        (137, 4, False, 137),
    ],
)
def test_slurm_requeues_on_42_and_signals_until_max_restarts(tmp_path, code, before, requeued, after):
    workdir = tmp_path / "it's $(pwd)"
    workdir.mkdir()
    (script,) = make_golden.rendered("odd_slurm").values()
    script = script.replace(shlex.quote("/a folder/$(pwd)'s"), shlex.quote(str(workdir)))
    stand_in(tmp_path, "srun", 'shift 2; exec "$@"')
    stand_in(tmp_path, "lst", f"#!{sys.executable}\n{ARGV}\nsys.exit({code})")
    stand_in(tmp_path, "scontrol", 'echo "scontrol $*"')
    count = {} if before is None else {"SLURM_RESTART_COUNT": str(before)}
    found = run(tmp_path, "bash", script, SLURM_JOB_ID="7", **count)
    first, *rest = found.stdout.splitlines()
    check_what_lst_saw(first, workdir)
    assert found.returncode == after and rest == ["scontrol requeue 7"] * requeued


def test_a_signal_to_the_sbatch_shell_does_not_keep_it_from_requeueing(tmp_path):
    (script,) = make_golden.rendered("gpu_slurm").values()
    script = script.replace("/home/me/lst_jax", str(tmp_path))
    stand_in(tmp_path, "srun", "kill -TERM $PPID; sleep 0.2; exit 42")
    stand_in(tmp_path, "scontrol", 'echo "scontrol $*"')
    found = run(tmp_path, "bash", script, SLURM_JOB_ID="7")
    assert found.stdout == "scontrol requeue 7\n" and found.returncode == 0
