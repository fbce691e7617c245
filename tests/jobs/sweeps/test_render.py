"""Jobs of a sweep for clusters, and the total of their plans."""

import dataclasses
import pathlib
import shlex

import pytest

from lst_jax.cli import main
from lst_jax.config import config_hash
from lst_jax.core.errors import ConfigError
from lst_jax.cost import plan as planning
from lst_jax.jobs.launch.cluster import load_cluster
from lst_jax.jobs.launch.job import LONGEST_NAME
from lst_jax.jobs.sweeps import render, text
from lst_jax.jobs.sweeps.trials import Sweep, Trial, label_of, read_sweep, write_sweep
from lst_jax.recipes.load import load_recipe

CLUSTER = "launch/v5p_gke.toml"


def trial(recipe, *changes, steps=5000):
    changes = (*changes, f"train.steps={steps}")
    config = load_recipe(recipe, changes)
    digest = config_hash(config)
    return Trial(
        f"{config.name}-{digest[:8]}",
        label_of(config),
        recipe,
        changes,
        None,
        digest,
        10**9,
        steps,
        1e9,
        1e18,
        "made-up records",
    )


@pytest.fixture
def folder(tmp_path):
    trials = (
        trial("configs/lst.py:1b,base", "optim.peak_lr=0.0003"),
        trial("configs/lst.py:1b,curriculum3-from-bpe-aligned-to-mixed"),
        trial("configs/lst.py:1b,base", steps=9000),
    )
    write_sweep(tmp_path / "study", Sweep("configs/lst.py:x", None, trials))
    return tmp_path / "study"


@pytest.mark.parametrize(
    "target, cluster",
    [("jobset", CLUSTER), ("slurm", "launch/gpu_slurm.toml"), ("queued-resource", "launch/v6e_queued.toml")],
)
def test_every_run_becomes_a_job_that_derives_nothing(folder, target, cluster, capsys):
    assert main.main(["sweep", "render", str(folder), "--cluster", cluster, "--to", target]) == 0
    written = capsys.readouterr().out.split()
    trials = read_sweep(folder).trials
    for each in trials:
        name = render.job_name(each)
        texts = "".join(pathlib.Path(path).read_text() for path in written if f"/jobs/{name}/" in path)
        run = f"{load_cluster(cluster).run_root}/study/runs/{each.name}"
        assert run in texts and each.recipe in texts
        assert all(word in texts for change in each.changes for word in (shlex.quote(change).strip("'"), "--set"))
    assert len({render.job_name(t) for t in trials}) == len(trials)


def test_job_names_are_short_and_keep_the_hash(folder):
    for each in read_sweep(folder).trials:
        name = render.job_name(each)
        assert len(name) <= LONGEST_NAME and name.endswith(each.config_hash[:8]) and name == name.lower()


def test_a_cluster_that_does_not_fit_a_run_is_refused(folder, tmp_path, capsys):
    write_sweep(folder, Sweep("x", None, (trial("configs/lst.py:1b", "data.rows=4"),)))
    assert main.main(["sweep", "render", str(folder), "--cluster", CLUSTER, "--to", "jobset"]) == 2
    said = capsys.readouterr().err
    assert "lst sweep: lst-1b-curriculum-" in said and "data.rows=4: must be a multiple of" in said
    assert not (folder / "jobs").exists()


def made_up_plan(reference, config, topology_name, slices, quick):
    made_up_plan.calls.append((reference, topology_name, slices, config.train.steps))
    replica = config.mesh.replica or 1
    return planning.Plan(
        recipe=reference,
        config_hash=config_hash(config),
        topology=topology_name,
        slices=slices,
        devices=64,
        chips=64,
        mesh={"replica": replica, "data": 64 * slices // replica, "tensor": 1},
        rows=config.data.rows,
        accumulate=1,
        remat=config.model.remat,
        parameters={},
        state_bytes={},
        hbm_bytes=1,
        hbm_capacity=2,
        analytic_flops=1.0,
        matrix_flops=1.0,
        eight_bit_flops=0.0,
        kernel_flops=0.0,
        bytes_accessed=1.0,
        kernels={},
        collective_bytes={},
        collective_sec={},
        largest_collective=0,
        largest_parameter=0,
        estimate_sec={"global transformer": {"matrix products": 0.8 if replica == 4 else 0.9}},
        uncounted_kernels=[],
        floors_sec={"arithmetic": 0.5, "network": 0.1},
        peak_flops=1.0,
        tokens=1.0,
        units=1.0,
        steps=config.train.steps,
        checkpoint_bytes=1,
        compiler_options={},
        refused_options=[],
        compile_sec=1.0,
    )


@pytest.fixture
def planned(monkeypatch):
    made_up_plan.calls = []
    monkeypatch.setattr(planning, "make_plan", made_up_plan)
    return made_up_plan.calls


def test_a_dry_run_totals_chip_hours_and_compiles_equal_programs_once(folder, planned, capsys):
    assert main.main(["sweep", "render", str(folder), "--cluster", CLUSTER, "--to", "jobset", "--dry-run"]) == 0
    chips = load_cluster(CLUSTER).devices
    assert len(planned) == 2 and not (folder / "jobs").exists()  # Base's two runs differ in numbers only
    total = 0.9 * (5000 + 5000 + 9000) * 64 / 3600
    assert f"3 runs, {total:,.0f} chip-hours by estimate" in capsys.readouterr().out and chips >= 4


def test_a_run_that_does_not_fit_fails_the_dry_run(folder, planned, monkeypatch, capsys):
    small = lambda *args, **how: dataclasses.replace(made_up_plan(*args, **how), hbm_capacity=0)  # noqa: E731
    monkeypatch.setattr(planning, "make_plan", small)
    assert main.main(["sweep", "render", str(folder), "--cluster", CLUSTER, "--to", "jobset", "--dry-run"]) == 1
    assert "3 do not fit, and are not in it" in capsys.readouterr().out


def test_the_choice_of_a_search_is_in_the_jobs(folder, planned, capsys):
    words = ["sweep", "render", str(folder), "--cluster", CLUSTER, "--to", "jobset", "--search"]
    assert main.main(words) == 0
    *_, total = (line for line in capsys.readouterr().out.splitlines() if "chip-hours" in line)
    assert total.startswith(f"3 runs, {0.8 * (5000 + 5000 + 9000) * 64 / 3600:,.0f} chip-hours")
    for each in read_sweep(folder).trials:
        job = "".join(path.read_text() for path in (folder / "jobs" / render.job_name(each)).iterdir())
        for change in ("mesh.replica=4", "mesh.data=32", 'model.remat="none"', "train.accumulate=1"):
            assert change in job.replace('\\"', '"')


def test_costs_of_gpus_are_refused(folder, capsys):
    words = ["sweep", "render", str(folder), "--cluster", "launch/gpu_slurm.toml", "--to", "slurm", "--dry-run"]
    assert main.main(words) == 2
    assert "costs are of compiled TPU programs; leave --dry-run out" in capsys.readouterr().err


def test_the_table_of_runs_ends_with_the_sum(folder):
    lines = text.runs_table(read_sweep(folder).trials).splitlines()
    assert len(lines) == 5 and lines[-1].startswith("3 runs, 3e+09 tokens, 3e+18 FLOPs")


def test_a_gpu_cluster_has_no_topology():
    with pytest.raises(ConfigError, match="kind='gpu'"):
        render.topology_of(load_cluster("launch/gpu_slurm.toml"))
