"""`lst sweep run` in a bucket: real processes, and every file of the sweep there."""

import subprocess
import sys

import fake_gcs
import pytest
import sweep_recipe

from lst_jax.cli import main
from lst_jax.jobs.sweeps import status
from lst_jax.jobs.sweeps.trials import read_sweep
from lst_jax.laws.points import read_points
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_appends")]
QUICK_TO_COMPILE = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
)


def test_a_sweep_lies_in_the_bucket_wholly(bucket, tmp_path, monkeypatch, capsys):
    recipe, folder = sweep_recipe.recipe_in(tmp_path / "recipe"), to_place(f"{bucket}/{tmp_path.name}/seeds")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [
        sys.executable,
        "-m",
        "lst_jax",
        "sweep",
        "run",
        str(folder),
        "--config",
        f"{recipe}:seeds",
        "--jobs",
        "2",
    ]
    env = fake_gcs.environment(
        PJRT_NPROC="4", JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0", XLA_FLAGS=QUICK_TO_COMPILE
    )
    done = subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == []
    trials = read_sweep(folder).trials
    assert status.summary(status.status_of(folder / "runs", trials)) == "2 done of 2 runs"
    assert [point.run for point in read_points(folder / "points.jsonl")] == [trial.name for trial in trials]
    there = objects.sizes(folder)
    assert {"sweep.json", "points.jsonl", "report.html", "fits/fit.json", "fits/fit.txt"} <= there.keys()
    assert all(there[f"logs/{trial.name}.log"] for trial in trials) and not any(
        name.startswith("cache") for name in there
    )
    monkeypatch.chdir(elsewhere)
    assert main.main(["sweep", "status", str(folder)]) == 0 and "6 of 6" in capsys.readouterr().out
    assert main.main(["fit", f"{folder}/points.jsonl", "--out", f"{folder}/again"]) == 3  # too few runs for any law
    assert objects.exists(folder / "again" / "fit.json") and list(elsewhere.iterdir()) == []
