"""What is rendered: as reviewed (golden), as the JobSet API takes it, and as shells read it."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import make_golden
import pytest
import yaml

from lst_jax.cli.main import main
from lst_jax.core.errors import RESTART_EXIT_CODE, UserError
from lst_jax.jobs.launch.cluster import FOUND_BY_JAX, load_cluster
from lst_jax.jobs.launch.job import make_job

SHELLCHECK = shutil.which("shellcheck", path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
SHELL_CASES = [case for case, (_, target, _) in make_golden.CASES.items() if target != "jobset"]
JOBSET_CASES = [case for case in make_golden.CASES if case not in SHELL_CASES]


def golden_file(case: str) -> pathlib.Path:
    (path,) = (make_golden.GOLDEN / case).iterdir()
    return path


def manifest(case: str) -> dict:
    (text,) = make_golden.rendered(case).values()
    return yaml.safe_load(text)


def job_spec(case: str) -> dict:
    return manifest(case)["spec"]["replicatedJobs"][0]["template"]["spec"]


@pytest.mark.parametrize("case", make_golden.CASES)
def test_a_job_is_rendered_as_it_was_reviewed(case):
    path = golden_file(case)
    assert make_golden.rendered(case) == {path.name: path.read_text()}, "see make_golden.py"


@pytest.mark.parametrize("case", JOBSET_CASES)
def test_a_manifest_has_only_what_the_api_has(case):
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of requirements-dev.txt")
    schema = yaml.safe_load(pathlib.Path(__file__).with_name("jobset_schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    found = manifest(case)
    assert [e.message for e in validator.iter_errors(found)] == []
    found["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["comand"] = []
    assert [e.message for e in validator.iter_errors(found)] == [
        "Additional properties are not allowed ('comand' was unexpected)"
    ]


@pytest.mark.parametrize("case, slices, hosts, chips_per_host", [("v5p_gke", 2, 16, 4), ("v5e_jobset", 4, 64, 4)])
def test_a_jobset_has_a_job_a_slice_a_pod_a_host_and_all_its_chips(case, slices, hosts, chips_per_host):
    (replicated,) = manifest(case)["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert replicated["replicas"] == slices and job["parallelism"] == job["completions"] == hosts
    assert container["resources"]["limits"]["google.com/tpu"] == chips_per_host
    assert job["backoffLimit"] == 0 and job["template"]["spec"]["terminationGracePeriodSeconds"] >= 30
    name = manifest(case)["metadata"]["name"]
    assert len(f"{name}-{replicated['name']}-{slices - 1}-{hosts - 1}-abcde") <= 63


def test_a_jobset_restarts_on_42_and_signals_and_fails_on_what_a_person_must_mend():
    first, second = job_spec("v5p_gke")["podFailurePolicy"]["rules"]  # the first that matches counts
    assert first["action"] == "Count" and first["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert second["action"] == "FailJob" and second["onExitCodes"]["operator"] == "In"
    fatal = second["onExitCodes"]["values"]
    mistakes = {error.exit_code for error in [UserError, *UserError.__subclasses__()]} - {RESTART_EXIT_CODE}
    assert mistakes == {1, 2, 3, 4, 5, 6, 7} and mistakes <= set(fatal) and fatal == sorted(fatal)
    assert not {RESTART_EXIT_CODE, 127, 128 + 9, 128 + 15, 255} & set(fatal) and {41, 43, 126} < set(fatal)
    policy = manifest("v5p_gke")["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 50
    assert [(r["action"], r["onJobFailureReasons"]) for r in policy["rules"]] == [("FailJobSet", ["PodFailurePolicy"])]


def test_a_pod_runs_lst_itself_with_its_words_as_they_are():
    (container,) = job_spec("odd_jobset")["template"]["spec"]["containers"]
    kubernetes = [word.replace("$$(", "$(") for word in container["command"]]  # what it hands to exec
    assert kubernetes == [
        "lst",
        "train",
        f"/a folder/runs/{make_golden.ODD_RUN}",
        "--config",
        "configs/lst.py:1b",
        "--processes",
        "4",
    ]  # two slices of two hosts
    assert {e["name"]: e["value"] for e in container["env"]} == {
        "QUOTED": 'it\'s "$$(HOME)" $HOME',
        "EMPTY": "",
        "TWO": "a=b",
    }
    assert not any("$(" in word.replace("$$(", "") for word in container["command"])


def test_pods_are_on_the_network_of_their_host_unless_an_account_must_be_theirs():
    for case, shared in (("tpu7x_jobset", True), ("v5e_jobset", True), ("v5p_gke", False), ("flex_jobset", False)):
        pod = job_spec(case)["template"]["spec"]
        assert pod.get("hostNetwork", False) == shared, case
        assert pod.get("dnsPolicy") == ("ClusterFirstWithHostNet" if shared else None)
        assert {"name": "shared-memory", "emptyDir": {"medium": "Memory"}} in pod["volumes"]
        (container,) = pod["containers"]
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]
        assert container.get("securityContext") == (None if case == "flex_jobset" else {"privileged": True})


def test_what_a_pod_can_be_given_is_in_the_manifest():
    pod = job_spec("flex_jobset")["template"]["spec"]
    (container,) = pod["containers"]
    secret = {"secretKeyRef": {"name": "wandb", "key": "key"}}
    assert container["env"] == [{"name": "WANDB_API_KEY", "valueFrom": secret}]
    assert pod["priorityClassName"] == "high" and pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"]["cloud.google.com/gke-flex-start"] == "true" and pod["tolerations"]
    assert manifest("flex_jobset")["spec"]["ttlSecondsAfterFinished"] == 43200
    annotations = manifest("flex_jobset")["metadata"]["annotations"]
    assert annotations["provreq.kueue.x-k8s.io/maxRunDurationSeconds"] == "86400"


def test_every_host_is_connected_at_once_because_each_waits_for_all():
    (text,) = make_golden.rendered("v6e_queued").values()
    assert "--node=all" in text and "--worker=all" in text and "--batch-size=all" in text


@pytest.mark.parametrize("case", make_golden.CASES)
def test_what_the_step_is_compiled_with_is_said(case):
    (text,) = make_golden.rendered(case).values()
    assert ("lst train itself compiles the step with: xla_" in text) == ("gpu" not in case and case != "odd_slurm")
    assert ("LIBTPU_INIT_ARGS is left alone" in text) == ("gpu" not in case and case != "odd_slurm")


def test_options_of_libtpu_and_of_the_recipe_are_said_instead():
    cluster = load_cluster(make_golden.ROOT / "launch/v6e_flex.toml")
    cluster = dataclasses.replace(cluster, env=("LIBTPU_INIT_ARGS=--xla_a=1",))
    job = make_job("r", "configs/lst.py:1b", cluster, None, ["train.compiler_options=xla_b=2"])
    (text,) = make_golden.RENDER["jobset"](job).values()
    assert "compiles the step with: xla_b=2" in text and "left alone" not in text
    (replicated,) = yaml.safe_load(text)["spec"]["replicatedJobs"]
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "LIBTPU_INIT_ARGS", "value": "--xla_a=1"} in container["env"]


@pytest.mark.parametrize("case", make_golden.CASES)
def test_nothing_is_set_that_jax_finds_itself(case):
    (text,) = make_golden.rendered(case).values()
    lines = [line for line in text.splitlines() if "SLURM_" not in line]  # which the sbatch script reads
    assert not any(f"{name}" in line for line in lines for name in FOUND_BY_JAX)


@pytest.mark.parametrize("case", SHELL_CASES)
def test_bash_parses_every_script(case):
    path = golden_file(case)
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.skipif(SHELLCHECK is None, reason="needs shellcheck: make test-extras, or Debian's package")
@pytest.mark.parametrize("case", SHELL_CASES)
def test_shellcheck_has_nothing_to_say(case):
    found = subprocess.run([SHELLCHECK, golden_file(case)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_the_command_prints_or_writes_the_same(capsys, tmp_path):
    words = ["launch", "paper", "--config", "configs/lst.py:1b", "--cluster", "launch/v5p_gke.toml", "--to", "jobset"]
    golden = golden_file("v5p_gke")
    for dry in ([], ["--dry-run"]):
        assert main([*words, *dry]) == 0 and capsys.readouterr().out == golden.read_text()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other").write_text("kept")
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / golden.name).read_text() == golden.read_text()
    assert capsys.readouterr().out == f"{tmp_path / 'out' / golden.name}\n"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [golden.name, "other"]


def test_a_mistake_ends_the_command_in_one_line(capsys):
    assert main(["launch", "r", "--config", "configs/lst.py:1b", "--cluster", "launch/v7.toml", "--to", "xpk"]) == 2
    assert capsys.readouterr().err == (
        "lst launch: launch/v7.toml: no such cluster description; copy one from launch/\n"
    )
