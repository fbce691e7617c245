"""The commands of README's way to a 7B on Google Cloud, and of docs/operations.md: each is known to its program.

The whole way is also run, with stand-ins for the programs of the cloud that keep their words. `lst` is the real one, the
bucket is a server of this machine, and `kubectl apply` starts the processes of the manifest that it is given.
"""

import json
import os
import re
import shlex
import shutil
import subprocess

import cloud_commands
import cloud_stand_ins
import fake_gcs
import pytest
from test_readme import BIN, ROOT, write_inputs

from lst_jax.cli.main import build_parser
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

BLOCKS = {document: cloud_commands.blocks(document) for document in cloud_commands.DOCUMENTS}
# what makes the commands small: words of README's commands, and what of configs/lst.py is written into the copy
SMALLER = {"--size 32000": "--size 1024", "configs/lst.py > configs/cloud.py": "configs/small.py > configs/cloud.py"}
SMALL_RECIPE = {
    "TEXT_SIZE = 32_000": "TEXT_SIZE = 1024",
    "ROW_PATCHES = 4096": "ROW_PATCHES = 128",
    "patch_encoder=(1, 1280, 20)": "patch_encoder=(1, 64, 1)",
    "global_transformer=(32, 4096, 32)": "global_transformer=(1, 128, 1)",
    "patch_decoder=(6, 1280, 20)": "patch_decoder=(1, 64, 1)",
    "rows=1024": "rows=128",
    "steps=25_000": "steps=4",
    "warmup_steps=2000": "warmup_steps=1",
    "every=5000,": "every=4, batches=1, completion_items=4,",
}
DEVICE = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
)


@pytest.mark.parametrize("script", cloud_commands.scripts())
def test_programs_of_the_cloud_have_the_commands_and_options(script):
    table = json.loads(cloud_commands.TABLE.read_text())
    for words in cloud_commands.of_programs(script):
        command, _, options = cloud_commands.split(words)
        known = table[words[0]]["commands"]
        assert command in known, f"{shlex.join(words)}: see tests/helpers/cloud_commands.py"
        assert set(options) <= set(known[command]), shlex.join(words)


def test_an_option_that_a_program_does_not_have_is_found():
    words = ["gcloud", "storage", "buckets", "create", "gs://b", "--region=a"]
    command, positional, options = cloud_commands.split(words)
    assert (command, positional, options) == ("storage buckets create", ["gs://b"], ["--region"])
    assert "--region" not in json.loads(cloud_commands.TABLE.read_text())["gcloud"]["commands"][command]


def test_lst_understands_every_command():
    seen = 0
    for words in (w for blocks in BLOCKS.values() for block in blocks for w in cloud_commands.simple_commands(block)):
        if "lst" in words:  # also what a pod is to run
            words = words[words.index("lst") + 1 :] if words[0] != "gcloud" else []
            if words and words[0] in ("prepare", "doctor", "plan", "launch", "report"):
                build_parser(words[0]).parse_args(words)
                seen += 1
    assert seen >= 12


def test_the_way_is_one_screen():
    (block,) = BLOCKS["README.md"]
    assert len(block.splitlines()) <= 45


def test_a_manifest_names_the_image_that_the_way_builds(capsys):
    (block,) = BLOCKS["README.md"]
    (built,) = re.findall(r"^make image IMAGE=(\S+)$", block, re.MULTILINE)
    (pushed,) = re.findall(r"^docker push (\S+)$", block, re.MULTILINE)
    cluster = (ROOT / "launch/v5p_bucket.toml").read_text()
    assert built == pushed and f'image = "{built}"' in cluster
    for option, field in (
        ("cluster", "name"),
        ("project", "project"),
        ("zone", "zone"),
        ("reservation", "reservation"),
    ):
        (value,) = set(re.findall(rf"^xpk .*--{option}=(\S+)", block, re.MULTILINE))
        assert f'{field} = "{value}"' in cluster


START = "runs/7b/starts/00000001.json"


@pytest.mark.slow
def test_the_way_leads_from_an_empty_project_to_a_report(tmp_path):
    write_inputs(tmp_path)
    recipe = (ROOT / "configs/lst.py").read_text()
    for old, new in SMALL_RECIPE.items():
        assert recipe.count(old) >= 1, old
        recipe = recipe.replace(old, new)
    (tmp_path / "configs/small.py").write_text(recipe)
    (tmp_path / "Makefile").unlink()
    shutil.copy(ROOT / "Makefile", tmp_path)
    (script,) = BLOCKS["README.md"]
    for old, new in SMALLER.items():
        assert old in script
        script = script.replace(old, new)
    cloud_stand_ins.write(tmp_path / "bin")
    (tmp_path / "gcs").mkdir()
    with fake_gcs.serving(tmp_path / "gcs") as variables:
        env = fake_gcs.environment(**variables, XLA_FLAGS=DEVICE, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "compiled"))
        env["PATH"] = os.pathsep.join([str(tmp_path / "bin"), str(BIN), env["PATH"]])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{done.stderr[-5000:]}\n{done.stdout[-3000:]}"
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            check_bucket()
    calls = (tmp_path / "calls").read_text().splitlines()
    expected = [" ".join(words) for words in cloud_commands.of_programs(script)]
    assert [call.split()[0] for call in calls if not call.startswith(("docker", "lst"))] == [
        *["gcloud"] * 8,
        "xpk",
        "gcloud",
        "gcloud",
        "kubectl",
        "kubectl",
    ], expected
    images = [call for call in calls if call.startswith("docker")]
    assert "--tag us-east5-docker.pkg.dev/my-project/lst/lst-jax:1" in images[0] and images[1].startswith("docker push")
    assert any("--member=serviceAccount:123-compute@developer.gserviceaccount.com" in call for call in calls)
    assert "fail " not in done.stdout and "records that fit the recipe" in done.stdout


def check_bucket() -> None:
    """The run trained in the bucket, and its page is there."""
    there = objects.sizes(to_place("gs://my-bucket"))
    assert {"runs/7b/report.html", "runs/7b/config.json", "data/lst/text.model"} <= there.keys()
    assert any(name.startswith("runs/7b/checkpoints/00000004/") for name in there)
    assert [name for name in there if name.startswith("runs/7b/starts/") and "owner" not in name] == [START]
    assert len(json.loads(objects.read_text(to_place(f"gs://my-bucket/{START}")))["devices"]) == 2
