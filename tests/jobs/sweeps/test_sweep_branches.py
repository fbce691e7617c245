"""`lst sweep run` of a family of budgets: one trunk and a decay per budget."""

import os
import pathlib
import subprocess
import sys

import sweep_recipe
import training_run
from test_sweep_command import QUICK_TO_COMPILE, ROOT

from lst_jax.core import json_files
from lst_jax.jobs.sweeps import collect, local, trials
from lst_jax.runs.directory import RunDirectory


def test_the_trunk_is_trained_once_and_each_budget_as_a_decay_of_its_own(tmp_path):
    recipe, folder = sweep_recipe.recipe_in(tmp_path, training_run.make_base_config), tmp_path / "family"
    env = os.environ | {"PYTHONPATH": str(ROOT), "PJRT_NPROC": "4", "XLA_FLAGS": QUICK_TO_COMPILE}
    words = ["sweep", "run", str(folder), "--config", f"{recipe}:family", "--jobs", "2"]
    subprocess.run([sys.executable, "-m", "lst_jax", *words], env=env, check=True, timeout=500)
    trunk, short, long = trials.read_sweep(folder).trials
    steps = {
        trial.name: [
            r["step"] for r in RunDirectory(folder / "runs" / trial.name).read_metrics() if r["kind"] == "train"
        ]
        for trial in (trunk, short, long)
    }
    assert steps == {trunk.name: [1, 2, 3, 4], short.name: [3, 4], long.name: [5, 6]}
    points = {point["run"]: point for point in json_files.read_lines(folder / collect.POINTS)}
    assert set(points) == {short.name, long.name}  # the trunk has never decayed
    assert points[long.name]["tokens"] > 1.4 * points[short.name]["tokens"]
    assert points[long.name]["flops"] > 1.4 * points[short.name]["flops"]


def test_a_branch_waits_for_its_trunk_s_checkpoint_and_fails_with_its_trunk(tmp_path):
    trunk = trials.Trial("t", "l", "r.py", (), None, "0", 1, 4, 1.0, 1.0, "nothing")
    short = trials.Trial("s", "l", "r.py", (), None, "1", 1, 4, 1.0, 1.0, "nothing", "t", 2)
    long = trials.Trial("u", "l", "r.py", (), None, "2", 1, 6, 1.0, 9.0, "nothing", "t", 4)
    waiting, folder = [trunk, short, long], local.Folder(tmp_path, tmp_path)
    assert local._next(folder, waiting, ()) is trunk
    waiting.remove(trunk)
    assert local._next(folder, waiting, {"t"}) is None  # it is being trained
    short.trunk_checkpoint(tmp_path / "runs").mkdir(parents=True)
    assert local._next(folder, waiting, {"t"}) is short
    assert local._drop_branches(folder, waiting, trunk, 6) == {"u": 6} and waiting == [short]
    assert pathlib.Path(tmp_path / "runs/t/checkpoints/00000002").exists()
